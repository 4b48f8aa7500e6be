import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import type { RefusalCode } from './frame.ts'

// What a caller of `send` hears, by what happened to the stream.

/** A reason that is our own error or a time-out of the caller's signal keeps its code. */
export function givenUp(code: 'timed-out' | 'aborted', text: string, reason: unknown): MusterError {
  if (reason === undefined) return new MusterError(code, text)
  return new MusterError(asMusterError(reason, 'aborted').code, text, { cause: reason })
}

export function openingError(thrown: unknown): MusterError {
  const error = asMusterError(thrown, 'closed')
  switch (error.code) {
    case 'unreachable':
    case 'timed-out':
    case 'closed':
    case 'not-a-member':
      return error
    case 'network-mismatch':
      return new MusterError('refused', 'the other side takes no messages', { cause: error })
    default:
      return new MusterError('closed', 'the stream could not be opened', { cause: error })
  }
}

export function refusalError(code: RefusalCode, what: 'message' | 'stream'): MusterError {
  return new MusterError(code, `the other side refused the ${what}: ${code}`)
}

/** What a failed dial means to the sender: nothing was sent. */
export function connectError(thrown: unknown): MusterError {
  const error = asMusterError(thrown, 'unreachable')
  if (error.code === 'timed-out' || error.code === 'network-mismatch' || error.code === 'closed') return error
  return error.code === 'unreachable' ? error : new MusterError('unreachable', undefined, { cause: thrown })
}

/** What waits may have been on a stream that broke: then nobody knows. */
export function perhapsSent(cause: MusterError): MusterError {
  const text = 'the connection broke before the receipt came; the message may have been delivered or not'
  return new MusterError('gone', text, { cause })
}
