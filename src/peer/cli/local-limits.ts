// docs/limits.md lists every constant; a test keeps page and code equal.

/** Longest body of a request to the local API, in bytes. */
export const MAX_LOCAL_BODY_BYTES = 1_048_576
/** Most bytes of a request line with its headers. */
export const MAX_LOCAL_HEADER_BYTES = 4_096
/** Most connections open at a time; a watch keeps one. */
export const MAX_LOCAL_CONNECTIONS = 64
/** Milliseconds a client has to send its headers. */
export const LOCAL_HEADERS_TIMEOUT_MS = 3_000
/** Milliseconds a client has to send its whole request. */
export const LOCAL_REQUEST_TIMEOUT_MS = 10_000
/** Milliseconds a running node has to prove itself; then it counts as not there. */
export const LOCAL_HELLO_MS = 3_000
/** Longest file that says where the local API is; more is not read. */
export const MAX_LOCAL_FILE_BYTES = 4_096
/** Envelopes in one request of an import: with their base64 they stay below `MAX_LOCAL_BODY_BYTES`. */
export const MAX_RESTORED_AT_ONCE = 64
