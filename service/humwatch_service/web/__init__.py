"""The web server: who may ask, what every request gets, and the parts that the routes share."""
