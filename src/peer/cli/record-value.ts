import type { Readable } from 'node:stream'
import { MusterError } from '../../shared/core/errors.ts'
import { raceSignal } from '../../shared/core/signals.ts'
import { MAX_RECORD_VALUE_BYTES } from '../../shared/wire/record.ts'
import type { Json, Value } from '../api.ts'
import { encodeValue } from '../value.ts'
import { escapeJson, sanitize } from './sanitize.ts'

/** How a text becomes a value: `auto` takes JSON where it parses as JSON, and text where not. */
export type ValueForm = 'auto' | 'string' | 'bytes'

/**
 * The value that a command line gives, from standard input without a text or with `-`.
 * @throws MusterError `too-large` | `value-invalid`; `options-invalid` when standard input is empty.
 */
export async function givenValue(
  text: string | undefined,
  form: ValueForm,
  stdin: Readable,
  signal: AbortSignal
): Promise<Value> {
  const value =
    text === undefined || text === '-'
      ? valueOfInput(await raceSignal(readBounded(stdin), signal), form)
      : form === 'bytes'
        ? new TextEncoder().encode(text)
        : valueOfText(text, form)
  encodeValue(value, MAX_RECORD_VALUE_BYTES) // says what is wrong with it before anybody is asked
  return value
}

/** What parses as JSON is that, anything else text. */
export function valueOfText(text: string, form: Exclude<ValueForm, 'bytes'> = 'auto'): Json {
  if (form === 'string') return text
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}

function valueOfInput(bytes: Uint8Array, form: ValueForm): Value {
  if (form === 'bytes') return bytes
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new MusterError('value-invalid', 'standard input is no text in UTF-8: --bytes takes it as it is', { cause })
  }
  if (text === '' && form === 'auto') {
    throw new MusterError('options-invalid', 'VALUE: standard input is empty; with --string or --bytes that is a value')
  }
  return valueOfText(text.replace(/\r?\n$/, ''), form)
}

/** A value, and the line break behind it. */
const MAX_INPUT_BYTES = MAX_RECORD_VALUE_BYTES + 2

async function readBounded(stdin: Readable): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stdin) {
    chunks.push(Buffer.from(chunk))
    length += chunk.length
    if (length > MAX_INPUT_BYTES) {
      throw new MusterError('too-large', `standard input has more than the ${MAX_RECORD_VALUE_BYTES} bytes of a value`)
    }
  }
  return new Uint8Array(Buffer.concat(chunks))
}

/** A value as `get` prints it: text and bytes as they are; on a terminal nothing that it would obey. */
export function printedValue(value: Value, isTerminal: boolean): string | Uint8Array {
  if (value instanceof Uint8Array) {
    return isTerminal ? `${JSON.stringify({ bytes: Buffer.from(value).toString('base64') })}\n` : value
  }
  if (typeof value !== 'string') return `${escapeJson(JSON.stringify(value))}\n`
  if (!isTerminal) return `${value}\n`
  const lines = value.split('\n').map(line => sanitize(line, Number.POSITIVE_INFINITY))
  return `${lines.join('\n')}\n`
}
