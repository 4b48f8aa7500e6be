import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { ERROR_CODES, type ErrorCode, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { deadline } from '../../shared/core/signals.ts'
import { isSameSecret, type LocalPlace, proofOf, readLocalPlace } from './local-file.ts'
import { LOCAL_HELLO_MS } from './local-limits.ts'
import type { LocalRequest } from './local-server.ts'

/** A line of an answer: what the handler at the other side yields. */
export type LocalLine = Readonly<Record<string, unknown>>

/** The local API of a node that runs. */
export interface LocalClient {
  readonly network: string
  readonly pid: number
  /**
   * Asks for a command; yields its answer, an object a line.
   * @throws MusterError what the node threw; `refused` when it does not serve this; `closed` when it went away.
   */
  call(command: string, asked: LocalRequest, signal: AbortSignal): AsyncIterable<LocalLine>
}

/**
 * The node that runs on a data folder. Undefined when there is none: no file, one that a crash left behind, or whoever
 * listens there cannot prove to be that node.
 */
export async function findLocalApi(folder: string, signal: AbortSignal): Promise<LocalClient | undefined> {
  const place = await readLocalPlace(folder)
  if (place === undefined) return undefined
  const nonce = randomBytes(32).toString('hex')
  using limit = deadline(LOCAL_HELLO_MS, 'a running node', signal)
  try {
    for await (const { proof } of post({ ...place, token: '' }, 'hello', { nonce }, limit.signal)) {
      if (typeof proof !== 'string' || !isSameSecret(proof, proofOf(place.token, nonce))) return undefined
      const call: LocalClient['call'] = (...asked) => post(place, ...asked)
      return { network: place.network, pid: place.pid, call }
    }
  } catch {
    signal.throwIfAborted()
  }
  return undefined
}

async function* post(
  { url, token }: LocalPlace,
  command: string,
  asked: LocalRequest,
  signal: AbortSignal
): AsyncGenerator<LocalLine> {
  const sent = request(`${url}/${command}`, {
    method: 'POST',
    agent: false, // one connection for each: nothing is left open
    headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) },
    signal
  })
  sent.end(JSON.stringify(asked))
  try {
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    // that it broke off is seen at its end
    for (const stream of [sent, response]) stream.on('error', () => undefined)
    if (response.statusCode !== 200) {
      throw new MusterError('refused', `the running node does not serve this (HTTP ${response.statusCode})`)
    }
    let rest = ''
    response.setEncoding('utf8')
    for await (const chunk of response) {
      const texts = `${rest}${chunk}`.split('\n')
      rest = texts.pop() ?? ''
      for (const text of texts) {
        const line = JSON.parse(text) as LocalLine
        throwIfError(line)
        yield line
      }
    }
  } catch (thrown) {
    signal.throwIfAborted()
    if (isMusterError(thrown) && thrown.code !== 'closed') throw thrown
    throw new MusterError('closed', 'the running node went away', { cause: thrown })
  } finally {
    sent.destroy()
  }
}

function throwIfError({ error }: LocalLine): void {
  if (typeof error !== 'object' || error === null) return
  const { code, message } = error as LocalLine
  const known: ErrorCode = Object.hasOwn(ERROR_CODES, String(code)) ? (code as ErrorCode) : 'refused'
  throw new MusterError(known, String(message))
}
