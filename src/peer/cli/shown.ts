import type { PeerId } from '../../shared/core/address.ts'
import type { Value } from '../api.ts'
import { sanitize } from './sanitize.ts'

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
export type Paint = (style: Style, text: string) => string

/** Characters of a peer id shown to people: its end, because all Ed25519 peer ids begin alike. */
export const SHORT_ID_LENGTH = 6

export function shortId(peerId: PeerId): string {
  return `…${peerId.slice(-SHORT_ID_LENGTH)}`
}

/** Bytes are no JSON: they go as base64 in a field of their own. */
export function jsonValue(value: Value): object {
  return value instanceof Uint8Array ? { bytes: Buffer.from(value).toString('base64') } : { value }
}

/** A value of a stranger in one line. */
export function shownValue(value: Value): string {
  if (typeof value === 'string') return sanitize(value)
  if (value instanceof Uint8Array) {
    const start = Buffer.from(value.subarray(0, 32)).toString('hex')
    return `${count(value.length, 'byte')} ${start}${value.length > 32 ? '…' : ''}`.trimEnd()
  }
  try {
    return sanitize(JSON.stringify(value) ?? String(value))
  } catch {
    return '(a value that cannot be printed)' // nested too deeply for this engine
  }
}

/** `1 member`, `2 members`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

/** A number of bytes for people. */
export function bytesText(n: number): string {
  if (n < 1024) return count(Math.floor(n), 'byte')
  if (n < 1_048_576) return `${(n / 1024).toFixed(1)} KiB`
  return n < 1_073_741_824 ? `${(n / 1_048_576).toFixed(1)} MiB` : `${(n / 1_073_741_824).toFixed(1)} GiB`
}
