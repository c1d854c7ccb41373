cpdef bytes hmac_digest(str hash_name, bytes key, bytes message)
cpdef bytes extract(str hash_name, bytes salt, bytes ikm)
cpdef bytes expand_label(
    str hash_name, bytes secret, bytes label, bytes context, Py_ssize_t length
)
