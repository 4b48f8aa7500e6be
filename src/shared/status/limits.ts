/** Most bytes of a request line with its headers; more is answered with 431. */
export const MAX_STATUS_HEADER_BYTES = 4_096
/** Most connections open at a time; a newcomer beyond that cuts the oldest, so that nobody can lock others out. */
export const MAX_STATUS_CONNECTIONS = 32
/** Most requests of one connection under way at a time (HTTP pipelining); one more cuts the connection. */
export const MAX_STATUS_PIPELINED = 8
/** Most requests over one connection; then it is closed and the client opens another. */
export const MAX_STATUS_REQUESTS_PER_CONNECTION = 1_000
/** Milliseconds a client has to send its request line and headers, from the connection on. */
export const STATUS_HEADERS_TIMEOUT_MS = 3_000
/** Milliseconds a client has to send its whole request. */
export const STATUS_REQUEST_TIMEOUT_MS = 5_000
/** Milliseconds a client has, from its request on, to take the whole answer. */
export const STATUS_RESPONSE_TIMEOUT_MS = 10_000
/** Milliseconds after which a connection without a request under way is closed. */
export const STATUS_KEEP_ALIVE_MS = 5_000
/** Milliseconds after which a health check, a status or a scrape is given up and answered with 503. */
export const STATUS_DEADLINE_MS = 3_000
/** A health check serves all who ask while it runs, and for this many milliseconds after. */
export const HEALTH_KEEP_MS = 1_000
/** The same for a status and for a scrape. */
export const STATUS_KEEP_MS = 250
