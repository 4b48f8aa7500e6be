/** What can go wrong, by code. `docs/errors.md` lists the same codes; a test keeps the two equal. */
export const ERROR_CODES = {
  'options-invalid': 'One or more options are unknown, malformed or contradict each other.',
  'address-invalid': 'A text is neither a multiaddr nor host:port.',
  'topic-invalid': 'A topic name is empty, too long, or not text.',
  'value-invalid': 'A value is neither JSON nor bytes.',
  'key-invalid': 'The key of a record is empty, too long, not text, or no content key.',
  'record-invalid': 'What was found under a key is no record that counts: its form, times or signature are wrong.',
  'port-in-use': 'Another process listens on the address.',
  'address-unavailable': 'The address to listen on does not belong to this machine.',
  'data-locked': 'Another process uses the data folder.',
  'data-not-writable': 'The data folder cannot be created or written.',
  'data-corrupt': 'The database in the data folder is damaged.',
  'identity-corrupt': 'The identity file is damaged or readable by others.',
  'bootstrap-identity-changed': 'A bootstrap answered with another peer id than the one remembered.',
  'network-mismatch': 'The other node belongs to another network or does not speak the protocol.',
  'protocol-violation': 'The other side sent something its protocol does not allow.',
  unreachable: 'No address of the peer could be reached.',
  refused: 'The other side does not accept the request.',
  'timed-out': 'The deadline passed before an answer came.',
  aborted: 'The caller cancelled the operation.',
  'too-large': 'The value is larger than the limit.',
  'limit-reached': 'A limit on what may be held or be under way was reached.',
  closed: 'The node, group or stream was closed.',
  'not-a-member': 'The peer is not a member of the topic.',
  'already-joined': 'The topic is joined already.',
  'command-invalid': 'A console command is unknown or misses an argument.',
  'no-handler': 'Nobody at the other side listens for this.',
  'handler-failed': "The other side's handler threw.",
  gone: 'The member left or was lost before it answered.'
} as const satisfies Record<string, string>

export type ErrorCode = keyof typeof ERROR_CODES

/**
 * The only error class Muster throws. Compare by `code`, never by `message`.
 * What a stranger sent is in `cause`, never in `message`.
 */
export class MusterError extends Error {
  override readonly name = 'MusterError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string = ERROR_CODES[code], options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

export function isMusterError(error: unknown, code?: ErrorCode): error is MusterError {
  return error instanceof MusterError && (code === undefined || error.code === code)
}

/** Whatever was thrown, as an `Error`: libp2p rejects with events and DOM exceptions too. */
export function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown
  if (typeof thrown === 'object' && thrown !== null) {
    const { error, message, name, type } = thrown as Record<string, unknown>
    if (error instanceof Error) return error
    return new Error(String(message ?? name ?? type ?? 'unknown failure'), { cause: thrown })
  }
  return new Error(String(thrown))
}

/** A `MusterError` stays as it is; an aborted signal and anything else get the code that fits. */
export function asMusterError(thrown: unknown, fallback: ErrorCode, message?: string): MusterError {
  if (thrown instanceof MusterError) return thrown
  const error = asError(thrown)
  if (error.name === 'TimeoutError') return new MusterError('timed-out', message, { cause: error })
  if (error.name === 'AbortError') return new MusterError('aborted', message, { cause: error })
  return new MusterError(fallback, message, { cause: error })
}
