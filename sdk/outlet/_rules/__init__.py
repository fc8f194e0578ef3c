"""What the Plugin API allows and how it says no, where that takes no database.

The platform and the test kit share it.
"""
