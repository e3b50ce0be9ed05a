"""The frames of a drive in, the areas of road, mirrors and road users out, and moments to look at."""
