import { decodeUint8Array, encodeUint8Array, encodingLength } from 'uint8-varint'
import { MusterError } from '../core/errors.ts'

// protons' generator emits TypeScript namespaces, which Node does not strip (docs/decisions/0002). So a message is
// described by a table. The .proto files in docs/protocols say the same for other languages; a test decodes each
// side's bytes with the other.

interface Limits {
  /** Longest accepted, in bytes (`bytes`, `string`, message). */
  readonly max?: number
}
interface ScalarTypes {
  bytes: Uint8Array
  string: string
  uint32: number
  /** Integers up to 2^53 − 1; a larger one is a protocol violation. */
  uint64: number
  bool: boolean
}
type ScalarField = Limits & { readonly id: number; readonly type: keyof ScalarTypes }
type MessageField = Limits & { readonly id: number; readonly message: Codec<unknown> }
type One = ScalarField | MessageField
type Field = (One & { readonly required?: true }) | (One & { readonly repeated: number })

export type Schema = Readonly<Record<string, Field>>

type ValueOf<F> = F extends { readonly message: Codec<infer M> }
  ? M
  : F extends { readonly type: infer T extends keyof ScalarTypes }
    ? ScalarTypes[T]
    : never
type RequiredKeys<S> = { [K in keyof S]: S[K] extends { required: true } | { repeated: number } ? K : never }[keyof S]

/** The TypeScript shape of a schema: `repeated` fields are arrays, fields without `required` may be absent. */
export type Shape<S> = {
  readonly [K in RequiredKeys<S>]: S[K] extends { repeated: number } ? ReadonlyArray<ValueOf<S[K]>> : ValueOf<S[K]>
} & { readonly [K in Exclude<keyof S, RequiredKeys<S>>]?: ValueOf<S[K]> }

export interface Codec<T> {
  /** Bytes of their own, unless `allocate` gives others, e.g. {@link shortLived}. */
  encode(value: T, allocate?: (length: number) => Uint8Array): Uint8Array
  /**
   * Unknown fields are skipped, so that a later version may add some.
   * @throws MusterError `protocol-violation` on malformed bytes, a missing required field, or a limit passed.
   */
  decode(bytes: Uint8Array): T
}

const WIRE_TYPE = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const
const toUtf8 = new TextEncoder()
const fromUtf8 = new TextDecoder('utf-8', { fatal: true })

/** A protobuf (proto3) codec for one message. `repeated: n` accepts at most n elements. */
export function codec<const S extends Schema>(schema: S): Codec<Shape<S>> {
  const table = new Table(schema)
  const made: TableCodec = {
    table,
    encode: (message, allocate = exactly) => table.encode(message, allocate),
    decode: bytes => table.decode(bytes)
  }
  return made as unknown as Codec<Shape<S>>
}

/** What `codec` makes: inner messages are read and written in place. */
interface TableCodec extends Codec<Message> {
  readonly table: Table
}

type Message = Record<string, unknown>

interface Entry {
  readonly name: string
  readonly field: Field
  readonly tag: number
  readonly tagLength: number
  /** Undefined for a field that is there once. */
  readonly maxItems: number | undefined
  readonly isRequired: boolean
}

/** What the first walk over a value found out, in the order in which the second one comes by. */
interface Notes {
  /** Texts in UTF-8, and lengths of inner messages. */
  readonly items: Array<Uint8Array | number>
  next: number
}

/** Two walks over a value: the first adds up the length, the second writes into one buffer of that length. */
class Table {
  readonly #entries: readonly Entry[]
  readonly #byTag: ReadonlyMap<number, Entry>

  constructor(schema: Schema) {
    this.#entries = Object.entries(schema).map(([name, field]) => {
      const tag = field.id * 8 + wireTypeOf(field)
      const maxItems = 'repeated' in field ? field.repeated : undefined
      return { name, field, tag, tagLength: encodingLength(tag), maxItems, isRequired: 'required' in field }
    })
    this.#byTag = new Map(this.#entries.map(entry => [entry.tag, entry]))
  }

  encode(message: Message, allocate: (length: number) => Uint8Array): Uint8Array {
    const notes: Notes = { items: [], next: 0 }
    const bytes = allocate(this.length(message, notes))
    this.write(message, bytes, 0, notes)
    return bytes
  }

  decode(bytes: Uint8Array): Message {
    try {
      return this.read(bytes, 0, bytes.length)
    } catch (cause) {
      throw new MusterError('protocol-violation', 'malformed message', { cause })
    }
  }

  length(message: Message, notes: Notes): number {
    let length = 0
    for (const { name, field, tagLength, maxItems } of this.#entries) {
      const given = message[name]
      if (given === undefined) continue
      if (maxItems === undefined) length += tagLength + lengthOf(field, given, notes)
      else for (const item of given as unknown[]) length += tagLength + lengthOf(field, item, notes)
    }
    return length
  }

  /** Returns where it ended. */
  write(message: Message, bytes: Uint8Array, start: number, notes: Notes): number {
    let at = start
    for (const { name, field, tag, maxItems } of this.#entries) {
      const given = message[name]
      if (given === undefined) continue
      if (maxItems === undefined) at = writeItem(field, given, bytes, writeVarint(tag, bytes, at), notes)
      else {
        for (const item of given as unknown[]) {
          at = writeItem(field, item, bytes, writeVarint(tag, bytes, at), notes)
        }
      }
    }
    return at
  }

  read(bytes: Uint8Array, start: number, end: number): Message {
    const message: Message = {}
    for (const { name, maxItems } of this.#entries) if (maxItems !== undefined) message[name] = []
    for (let at = start; at < end; ) {
      const tag = readVarint(bytes, at)
      at += encodedLength(bytes, at)
      const entry = this.#byTag.get(tag)
      const [from, to] = span(bytes, at, tag & 7)
      if (to > end) throw new Error('cut short')
      at = to
      if (entry === undefined) continue
      const item = readItem(entry.field, bytes, from, to)
      if (entry.maxItems === undefined) message[entry.name] = item
      else {
        const list = message[entry.name] as unknown[]
        if (list.length >= entry.maxItems) throw new Error(`more than ${entry.maxItems} of ${entry.name}`)
        list.push(item)
      }
    }
    for (const { name, isRequired } of this.#entries) {
      if (isRequired && message[name] === undefined) throw new Error(`message without ${name}`)
    }
    return message
  }
}

function exactly(length: number): Uint8Array {
  return new Uint8Array(length)
}

function wireTypeOf(field: One): number {
  return 'type' in field && (field.type === 'uint32' || field.type === 'uint64' || field.type === 'bool')
    ? WIRE_TYPE.varint
    : WIRE_TYPE.lengthDelimited
}

function inner(field: MessageField): Table {
  return (field.message as TableCodec).table
}

function lengthOf(field: One, item: unknown, notes: Notes): number {
  if ('message' in field) {
    const at = notes.items.push(0) - 1
    const length = inner(field).length(item as Message, notes)
    notes.items[at] = length
    return encodingLength(length) + length
  }
  switch (field.type) {
    case 'bytes':
      return encodingLength((item as Uint8Array).length) + (item as Uint8Array).length
    case 'string': {
      const bytes = toUtf8.encode(item as string)
      notes.items.push(bytes)
      return encodingLength(bytes.length) + bytes.length
    }
    case 'bool':
      return 1
    default:
      return encodingLength(item as number)
  }
}

function writeItem(field: One, item: unknown, bytes: Uint8Array, at: number, notes: Notes): number {
  if ('message' in field) {
    const length = notes.items[notes.next++] as number
    return inner(field).write(item as Message, bytes, writeVarint(length, bytes, at), notes)
  }
  switch (field.type) {
    case 'bytes':
      return writeBytes(item as Uint8Array, bytes, at)
    case 'string':
      return writeBytes(notes.items[notes.next++] as Uint8Array, bytes, at)
    case 'bool':
      return writeVarint(item === true ? 1 : 0, bytes, at)
    default:
      return writeVarint(item as number, bytes, at)
  }
}

function writeBytes(item: Uint8Array, bytes: Uint8Array, at: number): number {
  const start = writeVarint(item.length, bytes, at)
  bytes.set(item, start)
  return start + item.length
}

function writeVarint(value: number, bytes: Uint8Array, at: number): number {
  if (value < 0x80) {
    bytes[at] = value // most of them
    return at + 1
  }
  encodeUint8Array(value, bytes, at)
  return at + encodingLength(value)
}

/** Where a value of a wire type starts and ends; the end may lie behind that of the bytes. */
function span(bytes: Uint8Array, at: number, wireType: number): [from: number, to: number] {
  switch (wireType) {
    case WIRE_TYPE.varint:
      return [at, at + encodedLength(bytes, at)]
    case WIRE_TYPE.lengthDelimited: {
      const from = at + encodedLength(bytes, at)
      return [from, from + readVarint(bytes, at)]
    }
    case WIRE_TYPE.fixed64:
      return [at, at + 8]
    case WIRE_TYPE.fixed32:
      return [at, at + 4]
    default:
      throw new Error(`wire type ${wireType}`)
  }
}

function readItem(field: One, bytes: Uint8Array, from: number, to: number): unknown {
  if (field.max !== undefined && to - from > field.max) {
    throw new Error(`field of ${to - from} bytes; at most ${field.max}`)
  }
  if ('message' in field) return inner(field).read(bytes, from, to)
  switch (field.type) {
    case 'bytes':
      return bytes.subarray(from, to)
    case 'string':
      return fromUtf8.decode(bytes.subarray(from, to))
    case 'bool':
      return readVarint(bytes, from) !== 0
    case 'uint32':
      return atMost(0xffff_ffff, readVarint(bytes, from))
    case 'uint64':
      return readVarint(bytes, from)
  }
}

/** Bytes of a varint, which may be longer than any that we read. */
function encodedLength(bytes: Uint8Array, at: number): number {
  let end = at
  while (end < bytes.length && (bytes[end] as number) >= 0x80) end++
  if (end >= bytes.length || end - at >= MAX_VARINT_BYTES) throw new Error('a varint without end')
  return end - at + 1
}

function readVarint(bytes: Uint8Array, at: number): number {
  return atMost(Number.MAX_SAFE_INTEGER, decodeUint8Array(bytes, at))
}

function atMost(max: number, value: number): number {
  if (!(value <= max)) throw new Error(`integer over ${max}`)
  return value
}

/** A varint of protobuf has 64 bits, seven in a byte. */
const MAX_VARINT_BYTES = 10
