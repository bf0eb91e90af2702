#!/bin/sh
# processor/ is pure: its objects may call the C library's memory and text functions, base/, and the two parsers,
# and nothing that reads a clock, a file, a socket, an environment variable or a random source.
# usage: purity.sh FOLDER-OF-OBJECTS
set -eu
banned='time|clock_gettime|gettimeofday|clock|fopen|fopen64|open|open64|openat|read|write|pread|pwrite|socket|connect|getenv|secure_getenv|rand|random|srand|getrandom|arc4random|pthread_create|fork|system|popen|sleep|usleep|nanosleep|localtime|localtime_r|gmtime|strftime'
found=$(for object in "$1"/*.o; do
    nm -u "$object" | awk '{print $2}' | sed 's/@.*//' | grep -Ex "$banned" | sed "s|^|$object: |" || true
done)
if [ -n "$found" ]; then
    echo "$found"
    echo 'purity: processor/ may not call these: a table is a pure function of its definition and the log'
    exit 1
fi
