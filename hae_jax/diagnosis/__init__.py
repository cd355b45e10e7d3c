"""The models of this package as training setups of the doctor, and repairs of their configs."""
