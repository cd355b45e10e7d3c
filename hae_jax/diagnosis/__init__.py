"""The models of this package as inputs of the doctor, and repairs of their configs."""
