import { MusterError } from '../../shared/core/errors.ts'
import { deadline } from '../../shared/core/signals.ts'
import { RECORD_DEADLINE_MS } from '../../shared/records/limits.ts'
import type { Records as SharedRecords } from '../../shared/records/records.ts'
import type { Taken } from '../../shared/records/shelf.ts'
import type {
  FoundRecord,
  GetOptions,
  Json,
  OwnRecord,
  PutOptions,
  PutResult,
  RecordKey,
  Records,
  RecordVersion,
  Value
} from '../api.ts'
import type { LocalClient, LocalLine } from './local-client.ts'
import { LOCAL_HELLO_MS, MAX_RESTORED_AT_ONCE } from './local-limits.ts'
import type { LocalHandlers, LocalRequest } from './local-server.ts'
import { jsonValue } from './shown.ts'

/** What export and import need. */
export type Archive = Pick<SharedRecords, 'dump' | 'restore' | 'republish'> & {
  /** Several at once, in their order, where a request for each would take its time. */
  restoreAll?(envelopes: readonly Uint8Array[]): Promise<readonly Taken[]>
}

/** What a running peer lets commands do with its records. The peer judges keys, values and options itself. */
export function recordHandlers(records: Records): LocalHandlers {
  return {
    async *put(request, signal) {
      const { key = null, options } = request
      yield lineOf(await records.put(key as RecordKey | null, sentValue(request), { ...putOptions(options), signal }))
    },
    async *get({ key, options }, signal) {
      const { quorum, timeoutMs } = objectOf(options)
      const given = { ...numberOf({ quorum }), ...numberOf({ timeoutMs }), signal }
      const found = await records.get(key as RecordKey, given)
      yield found === undefined ? {} : lineOf(found)
    },
    async *delete({ key, options }, signal) {
      const { timeoutMs } = objectOf(options)
      yield lineOf(await records.delete(key as RecordKey, { ...numberOf({ timeoutMs }), signal }))
    },
    async *watch({ key }, signal) {
      for await (const version of records.watch(key as RecordKey, { signal })) yield lineOf(version)
    },
    async *list() {
      for (const own of await records.list()) yield lineOf(own)
    }
  }
}

export function archiveHandlers(archive: Archive): LocalHandlers {
  return {
    async *dump() {
      for await (const { envelope, own } of archive.dump()) {
        yield { envelope: Buffer.from(envelope).toString('base64'), own }
      }
    },
    async *restore({ envelopes }) {
      const list = Array.isArray(envelopes) ? envelopes.slice(0, MAX_RESTORED_AT_ONCE) : []
      for (const envelope of list) {
        const taken = await archive.restore(Buffer.from(String(envelope), 'base64'))
        yield taken.outcome === 'refused' ? taken : { outcome: taken.outcome }
      }
    },
    async *republish() {
      void archive.republish() // in its own time; it never rejects
      yield {}
    }
  }
}

/** The records of a running peer, as if they were ours. */
export function remoteRecords({ call }: Pick<LocalClient, 'call'>): Records {
  const never = new AbortController().signal
  const one = async <T>(
    command: string,
    asked: LocalRequest & { readonly options: { readonly timeoutMs?: number } },
    signal = never
  ): Promise<T | undefined> => {
    const { timeoutMs = RECORD_DEADLINE_MS } = asked.options
    using limit = deadline(timeoutMs + LOCAL_HELLO_MS, 'the running node', signal) // it gives up by itself, unless it stands still
    for await (const line of call(command, asked, limit.signal)) return resultOf<T>(line)
    throw new MusterError('closed', 'the running node gave no answer')
  }
  const present = async <T>(result: Promise<T | undefined>): Promise<T> => {
    const there = await result
    if (there === undefined) throw new MusterError('closed', 'the running node gave an empty answer')
    return there
  }
  return {
    put: (key, value, { signal, ...options } = {}) =>
      present(one<PutResult>('put', { key: key as Json, ...(jsonValue(value) as LocalRequest), options }, signal)),
    get: (key, { signal, ...options }: GetOptions = {}) =>
      one<FoundRecord>('get', { key: key as Json, options }, signal),
    delete: (key, { signal, ...options } = {}) =>
      present(one<PutResult>('delete', { key: key as Json, options }, signal)),
    async *watch(key, { signal = never } = {}) {
      try {
        for await (const line of call('watch', { key: key as Json }, signal)) yield resultOf<RecordVersion>(line)!
      } catch (thrown) {
        if (!signal.aborted) throw thrown
      }
    },
    async list() {
      const own: OwnRecord[] = []
      for await (const line of call('list', {}, never)) own.push(resultOf<OwnRecord>(line)!)
      return own
    }
  }
}

export function remoteArchive({ call }: Pick<LocalClient, 'call'>, signal: AbortSignal): Archive {
  const restoreAll = async (envelopes: readonly Uint8Array[]): Promise<readonly Taken[]> => {
    const encoded = envelopes.map(envelope => Buffer.from(envelope).toString('base64'))
    const outcomes: Taken[] = []
    for await (const line of call('restore', { envelopes: encoded }, signal)) outcomes.push(line as unknown as Taken)
    if (outcomes.length !== envelopes.length) throw new MusterError('closed', 'the running node gave half an answer')
    return outcomes
  }
  return {
    async *dump() {
      for await (const { envelope, own } of call('dump', {}, signal)) {
        yield { envelope: Buffer.from(String(envelope), 'base64'), own: own === true }
      }
    },
    restoreAll,
    restore: async envelope => (await restoreAll([envelope]))[0]!,
    async republish() {
      for await (const _ of call('republish', {}, signal)) return
    }
  }
}

/** Bytes are no JSON; they go in a field of their own. */
function lineOf(result: { readonly value?: Value | undefined }): object {
  const { value, ...rest } = result
  return { ...rest, ...(value === undefined ? {} : jsonValue(value)) }
}

function resultOf<T>({ bytes, ...line }: LocalLine): T | undefined {
  if (Object.keys(line).length === 0) return undefined
  const value = typeof bytes === 'string' ? new Uint8Array(Buffer.from(bytes, 'base64')) : line.value
  return { ...line, value } as T
}

function sentValue({ value, bytes }: LocalRequest): Value {
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'base64'))
  return value as Json
}

function putOptions(options: Json | undefined): PutOptions {
  const { validityMs, timeoutMs, renew } = objectOf(options)
  return { ...numberOf({ validityMs }), ...numberOf({ timeoutMs }), ...(renew === true ? { renew } : {}) }
}

function objectOf(options: Json | undefined): LocalRequest {
  return typeof options === 'object' && options !== null && !Array.isArray(options) ? (options as LocalRequest) : {}
}

/** The number as it is: whoever takes it says what is wrong with it. */
function numberOf<K extends string>(given: { readonly [key in K]: Json | undefined }): { [key in K]?: number } {
  const entries = Object.entries<Json | undefined>(given).filter(([, value]) => typeof value === 'number')
  return Object.fromEntries(entries) as { [key in K]?: number }
}
