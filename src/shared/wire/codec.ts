import { reader as createReader, writer as createWriter } from 'protons-runtime'
import { MusterError } from '../core/errors.ts'

// protons' generator emits TypeScript namespaces, which Node does not strip (docs/decisions/0002). So a message is
// described by a table, and protons-runtime reads and writes the primitives. The .proto files in docs/protocols
// say the same for other languages; a test decodes each side's bytes with the other.

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
  encode(value: T): Uint8Array
  /**
   * Unknown fields are skipped, so that a later version may add some.
   * @throws MusterError `protocol-violation` on malformed bytes, a missing required field, or a limit passed.
   */
  decode(bytes: Uint8Array): T
}

const WIRE_TYPE = { varint: 0, lengthDelimited: 2 } as const

/** A protobuf (proto3) codec for one message. `repeated: n` accepts at most n elements. */
export function codec<const S extends Schema>(schema: S): Codec<Shape<S>> {
  const fields = Object.entries(schema)
  const byId = new Map(fields.map(([name, field]) => [field.id, { name, field }]))
  return {
    encode(value) {
      const writer = createWriter()
      for (const [name, field] of fields) {
        const given = (value as Record<string, unknown>)[name]
        if (given === undefined) continue
        for (const item of 'repeated' in field ? (given as unknown[]) : [given]) writeField(writer, field, item)
      }
      return writer.finish()
    },
    decode(bytes) {
      const result: Record<string, unknown> = {}
      for (const [name, field] of fields) if ('repeated' in field) result[name] = []
      try {
        const reader = createReader(bytes)
        while (reader.pos < reader.len) {
          const tag = reader.uint32()
          const known = byId.get(tag >>> 3)
          const expected = known === undefined ? -1 : wireTypeOf(known.field)
          if (known === undefined || expected !== (tag & 7)) reader.skipType(tag & 7)
          else {
            const item = readField(reader, known.field)
            if ('repeated' in known.field) {
              const list = result[known.name] as unknown[]
              if (list.length >= known.field.repeated)
                throw new Error(`more than ${known.field.repeated} of ${known.name}`)
              list.push(item)
            } else result[known.name] = item
          }
        }
        if (reader.pos > reader.len) throw new Error('cut short') // the reader takes bytes past the end for zeros
      } catch (cause) {
        throw new MusterError('protocol-violation', 'malformed message', { cause })
      }
      for (const [name, field] of fields) {
        if ('required' in field && result[name] === undefined) {
          throw new MusterError('protocol-violation', `message without ${name}`)
        }
      }
      return result as Shape<S>
    }
  }
}

type Writer = ReturnType<typeof createWriter>
type Reader = ReturnType<typeof createReader>

function wireTypeOf(field: One): number {
  return 'type' in field && (field.type === 'uint32' || field.type === 'uint64' || field.type === 'bool')
    ? WIRE_TYPE.varint
    : WIRE_TYPE.lengthDelimited
}

function writeField(writer: Writer, field: One, item: unknown): void {
  writer.uint32((field.id << 3) | wireTypeOf(field))
  if ('message' in field) writer.bytes(field.message.encode(item))
  else if (field.type === 'bytes') writer.bytes(item as Uint8Array)
  else if (field.type === 'string') writer.string(item as string)
  else if (field.type === 'uint32') writer.uint32(item as number)
  else if (field.type === 'uint64') writer.uint64Number(item as number)
  else writer.bool(item as boolean)
}

function readField(reader: Reader, field: One): unknown {
  if ('message' in field) return field.message.decode(judged(reader.bytes(), field))
  switch (field.type) {
    case 'bytes':
      return judged(reader.bytes(), field)
    case 'string':
      return new TextDecoder('utf-8', { fatal: true }).decode(judged(reader.bytes(), field))
    case 'uint32':
      return reader.uint32()
    case 'uint64':
      return safeInteger(reader.uint64())
    case 'bool':
      return reader.bool()
  }
}

function judged(bytes: Uint8Array, { max }: Limits): Uint8Array {
  if (max !== undefined && bytes.length > max) throw new Error(`field of ${bytes.length} bytes; at most ${max}`)
  return bytes
}

function safeInteger(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error('integer over 2^53 − 1')
  return Number(value)
}
