"""The ground floor: decides and never acts. Plain functions over frozen values, with the time handed in."""
