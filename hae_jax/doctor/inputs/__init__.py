"""What a user hands to the doctor, normalized to functions of flat lists of arrays."""
