import { concatBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import type { Preamble } from './channel.ts'

// multistream-select 1.0 (https://github.com/multiformats/multistream-select). js-libp2p waits for the answer before
// the application may write: one round trip for nothing when only one protocol is proposed. We write header, protocol
// and first frames at once, as go-libp2p's lazy negotiation does; what is on the wire is the same.

const HEADER = line('/multistream/1.0.0')
const NOT_AVAILABLE = line('na')

/** What the initiator of a stream says first. */
export function proposal(protocol: string): Uint8Array {
  return concatBytes([HEADER, line(protocol)])
}

/** Eats the responder's answer to {@link proposal}. */
export function agreement(protocol: string): Preamble {
  const expected = proposal(protocol)
  let seen: Uint8Array = new Uint8Array(0)
  return {
    push(chunk) {
      const all = concatBytes([seen, chunk])
      const agreed = commonPrefix(all, expected)
      if (agreed === expected.length) return all.subarray(expected.length)
      if (agreed < all.length) {
        const isRefusal = agreed === HEADER.length && commonPrefix(all.subarray(HEADER.length), NOT_AVAILABLE) > 0
        if (isRefusal) throw new MusterError('network-mismatch', 'the other side does not speak the protocol')
        throw new MusterError('protocol-violation', 'an unexpected answer to the protocol proposal')
      }
      seen = all
      return undefined
    }
  }
}

function line(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\n`)
  if (bytes.length < 128) return new Uint8Array([bytes.length, ...bytes])
  return new Uint8Array([(bytes.length & 0x7f) | 0x80, bytes.length >>> 7, ...bytes]) // unsigned varint, at most 2 bytes here
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}
