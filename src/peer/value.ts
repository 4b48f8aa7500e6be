import { copyBytes, shortLived } from '../shared/core/bytes.ts'
import { MusterError } from '../shared/core/errors.ts'
import { PART_BYTES, VALUE_KIND } from '../shared/wire/message.ts'
import type { Value } from './api.ts'

/** Arrays and objects inside each other, at most: deeper JSON overflows the stack of what works on it. */
export const MAX_VALUE_DEPTH = 128

/** Elements and members in all arrays and objects of a value together; an empty one counts as one. Each takes up to 60 bytes of memory once parsed, though `[{},{},…]` has three for each on the wire. */
export const MAX_VALUE_ITEMS = 2_097_152

/** A value in bytes. */
export interface EncodedValue {
  readonly kind: number
  readonly body: Uint8Array
}

/** A value as it goes over the wire. */
export interface PackedValue extends EncodedValue {
  /** One of `ENCODING` when the body is compressed; then `rawSize` is what it was. */
  readonly encoding: number | undefined
  readonly rawSize: number
}

/**
 * Judges a value and encodes it: JSON as UTF-8, bytes as they are: copied up to 64 KiB, so that the caller may reuse the
 * buffer; longer ones are not, and must stay as they are until the call ends.
 * Nothing is dropped or converted on the way, as `JSON.stringify` alone would: `undefined`, functions, symbols,
 * `NaN`, infinities, BigInt, cycles, holes, dates, maps, class instances and bytes inside JSON are errors that say where.
 * The sign of `-0` is the one thing lost.
 * @throws MusterError `value-invalid` with the path; `too-large` with the size and the limit.
 */
export function encodeValue(value: Value, maxBytes: number): EncodedValue {
  if (value instanceof Uint8Array) {
    judgeSize(value.length, maxBytes)
    return { kind: VALUE_KIND.bytes, body: value.length > PART_BYTES ? value : shortLivedCopy(value) }
  }
  // The walk stops far over the limit, so that a value of shared parts, 2^30 long when written out, is never written out.
  const budget = { left: maxBytes + WALK_BEYOND_BYTES, items: 0, used: 0, maxBytes }
  judgeJson(value, [], [], budget)
  const body = new TextEncoder().encode(JSON.stringify(value))
  judgeSize(body.length, maxBytes)
  return { kind: VALUE_KIND.json, body }
}

/**
 * The value of a message. A member named `__proto__` is data like any other.
 * @returns undefined for a kind this version does not know.
 * @throws MusterError `protocol-violation` when the bytes are not what their kind says.
 */
export function decodeValue({ kind, body }: EncodedValue): { readonly value: Value } | undefined {
  if (kind === VALUE_KIND.bytes) return { value: isView(body) ? copyBytes(body) : body }
  if (kind !== VALUE_KIND.json) return undefined
  judgeDepth(body)
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)) }
  } catch (cause) {
    throw new MusterError('protocol-violation', 'a message is not JSON in UTF-8', { cause })
  }
}

function shortLivedCopy(value: Uint8Array): Uint8Array {
  const copy = shortLived(value.length)
  copy.set(value)
  return copy
}

/** A view of something larger would keep all of that alive. */
function isView({ byteLength, buffer }: Uint8Array): boolean {
  return byteLength < buffer.byteLength
}

/** How far over the limit a value is looked through, so that the error can say how long it is. */
const WALK_BEYOND_BYTES = 8 * 1_048_576

interface Budget {
  left: number
  items: number
  used: number
  readonly maxBytes: number
}

function judgeSize(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return
  throw new MusterError('too-large', `the value is ${bytes} bytes long after encoding; at most ${maxBytes}`)
}

/** Counts what the encoding takes at the least: a UTF-16 unit is one byte or more. */
function spend(budget: Budget, bytes: number): void {
  budget.used += bytes
  budget.left -= bytes
  if (budget.left >= 0) return
  const { used, maxBytes } = budget
  throw new MusterError('too-large', `the value is at least ${used} bytes long after encoding; at most ${maxBytes}`)
}

function spendItems(budget: Budget, count: number): void {
  budget.items += Math.max(1, count)
  if (budget.items <= MAX_VALUE_ITEMS) return
  throw new MusterError('too-large', `more than ${MAX_VALUE_ITEMS} values inside the value; send it as bytes`)
}

type Path = Array<string | number>

function judgeJson(value: unknown, path: Path, ancestors: object[], budget: Budget): void {
  if (typeof value === 'string') spend(budget, value.length + 2)
  else if (typeof value === 'boolean' || value === null) spend(budget, 4)
  else if (typeof value === 'object') judgeContainer(value, path, ancestors, budget)
  else if (typeof value !== 'number') {
    throw invalid(path, `${value === undefined ? 'undefined' : `a ${typeof value}`} is not a JSON value`)
  } else if (!Number.isFinite(value)) throw invalid(path, `${value} is not a JSON number`)
  else spend(budget, 1)
}

function judgeContainer(value: object, path: Path, ancestors: object[], budget: Budget): void {
  if (ancestors.includes(value)) throw invalid(path, 'it contains itself')
  if (ancestors.length >= MAX_VALUE_DEPTH) throw invalid(path, `nested more than ${MAX_VALUE_DEPTH} deep`)
  spend(budget, 1)
  ancestors.push(value)
  if (Array.isArray(value)) {
    spend(budget, value.length) // before the walk: an array may claim 2^32 − 1 holes
    for (let at = 0; at < value.length; at++) judgeAt(value[at], at, path, ancestors, budget)
    spendItems(budget, value.length)
    if (Object.keys(value).length !== value.length) throw invalid(path, 'an array has elements only')
  } else {
    if (!isPlain(value)) throw invalid(path, `${nameOf(value)} is not a JSON value`)
    const keys = Object.keys(value)
    spendItems(budget, keys.length)
    for (const key of keys) {
      spend(budget, key.length + 4)
      judgeAt((value as Record<string, unknown>)[key], key, path, ancestors, budget)
    }
  }
  if (Object.getOwnPropertySymbols(value).length > 0) throw invalid(path, 'a key is a symbol')
  ancestors.pop()
}

function judgeAt(value: unknown, key: string | number, path: Path, ancestors: object[], budget: Budget): void {
  path.push(key)
  judgeJson(value, path, ancestors, budget)
  path.pop()
}

/** Literals, `Object.create(null)` and objects of another realm; not instances of a class. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOf(value: object): string {
  const { name } = value.constructor ?? {}
  return typeof name === 'string' && name !== '' ? `a ${name}` : 'an object with a prototype'
}

function invalid(path: Path, what: string): MusterError {
  const steps = path.map(step => (typeof step === 'number' ? `[${step}]` : property(step)))
  return new MusterError('value-invalid', `value${steps.join('')}: ${what}`)
}

function property(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c

/** Looks at brackets and commas outside strings only, before anything is parsed. */
function judgeDepth(json: Uint8Array): void {
  let depth = 0
  let items = 0
  let isInString = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (isInString) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) isInString = false
    } else if (byte === QUOTE) isInString = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_VALUE_DEPTH) throw new MusterError('protocol-violation', 'a message is nested too deep')
      items++
    } else if (byte === 0x5d || byte === 0x7d) depth--
    else if (byte === COMMA) items++
  }
  if (items > MAX_VALUE_ITEMS) throw new MusterError('protocol-violation', 'a message has too many values inside')
}
