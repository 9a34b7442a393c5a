"""The web server: access, request context and limits of bodies, routes, and the files of the page."""
