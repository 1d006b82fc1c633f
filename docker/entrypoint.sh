#!/bin/sh
# The first process of a container: becomes zkpnet, which then gets the container's signals itself.
#
# A node writes its log to standard error, so that standard output stays for what a command has to say. In a container a node's
# log is all that it has to say, and `docker logs coordinator-1 | grep leader` wants it on standard output.
case ${1:-} in
    coordinator | worker | gateway | dev) exec zkpnet "$@" 2>&1 ;;
    sh | bash | /*) exec "$@" ;;
    *) exec zkpnet "$@" ;;
esac
