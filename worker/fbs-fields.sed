# Debian's flatc 2.0 lacks --cpp-field-case-style, and mediasoup's C++ code wants lowerCamel accessors for the
# snake_case fields of its schemas. Field names never reach the wire, so renaming them in a copy of the schemas is safe.
# A field is an indented `name:` in lower case; enum values are upper case and stay as they are.
:again
s/^([ \t]+[a-z][A-Za-z0-9]*)_([a-z0-9])([a-z0-9_]*[ \t]*:)/\1\u\2\3/
t again
