// What others can make us hold while we wait for acknowledgements, and do to give them. docs/limits.md lists every constant; a test
// keeps page and code equal.

/** Broadcasts whose acknowledgements are waited for at once; the next one that asks fails with `limit-reached`. */
export const MAX_ACK_WAITS = 256
/** Channels for acknowledgements one connection may have open towards us. */
export const MAX_ACK_CHANNELS_PER_CONNECTION = 16
/** Acknowledgements that are on their way at once… */
export const MAX_PARALLEL_ACKS = 8
/** …and that wait for that. Further ones are not given. */
export const MAX_WAITING_ACKS = 256
/** Milliseconds a dial to an author and the acknowledgement together may take. */
export const ACK_TIMEOUT_MS = 5_000
