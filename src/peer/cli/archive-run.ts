import { MusterError } from '../../shared/core/errors.ts'
import type { Closable } from '../../shared/core/lifecycle.ts'
import type { RecordKey as SharedKey } from '../../shared/records/key.ts'
import { InvalidRecord, openRecord, peekRecord, type RecordFault } from '../../shared/records/record.ts'
import type { Taken } from '../../shared/records/shelf.ts'
import type { RecordKey } from '../api.ts'
import { readLines } from './console.ts'
import { MAX_RESTORED_AT_ONCE } from './local-limits.ts'
import { type Archive, remoteArchive } from './local-records.ts'
import { type CommandIo, EXIT } from './once.ts'
import { type DeskNeeds, findRunning } from './record-desk.ts'
import { archiveSyntax, type BOOTSTRAP_ARCHIVE_OPTIONS, type PEER_ARCHIVE_OPTIONS } from './record-options.ts'
import { commandOf, type ProgramFacts, type Told } from './record-run.ts'

export interface ArchiveNeeds extends Pick<DeskNeeds, 'folders'> {
  /** Opens a data folder whose node does not run; where none is named, the one that a node would take. */
  openArchive(options: Pick<Told<Options>, 'data' | 'logLevel'>): Promise<Archive & Closable>
  /** Whether there is anything at a path. */
  exists(path: string): boolean
}

type Options = typeof PEER_ARCHIVE_OPTIONS | typeof BOOTSTRAP_ARCHIVE_OPTIONS

/** `export` and `import`. */
export function archiveCommands(facts: ProgramFacts, options: Options, needs: ArchiveNeeds) {
  return {
    export: commandOf(archiveSyntax('export', options), facts, async (told: Told<Options>, io) => {
      if (told.data !== undefined && !needs.exists(told.data)) {
        throw new MusterError('options-invalid', `--data: there is no folder ${JSON.stringify(told.data)}`)
      }
      await using archive = await open(told, needs, io)
      await writeAll(archive, io)
      return EXIT.done
    }),
    import: commandOf(archiveSyntax('import', options), facts, async (told: Told<Options>, io) => {
      await using archive = await open(told, needs, io)
      return await takeAll(archive, io, told.json)
    })
  }
}

async function open(
  { data, verbose, logLevel }: Told<Options>,
  { folders, openArchive }: ArchiveNeeds,
  io: CommandIo
): Promise<Archive & AsyncDisposable> {
  // records are of no network: any node there will do
  const found = await findRunning(
    await folders(data),
    { data: data ?? '', network: '', isNetworkGiven: false },
    io.signal
  )
  if (found === undefined) return await openArchive({ data, logLevel })
  if (verbose) io.say(`asking the node that runs on ${found.folder} (process ${found.client.pid})`)
  return { ...remoteArchive(found.client, io.signal), async [Symbol.asyncDispose]() {} }
}

async function writeAll(archive: Archive, io: CommandIo): Promise<void> {
  const now = Date.now()
  for await (const { envelope, own } of archive.dump()) {
    const { key, author, sequence, expiresMs } = peekRecord(envelope)
    if (expiresMs <= now) continue // nobody would take it
    const line = {
      key: readable(key),
      author,
      sequence,
      expires: new Date(expiresMs).toISOString(),
      ...(own ? { own } : {}),
      envelope: Buffer.from(envelope).toString('base64')
    }
    await io.write(`${JSON.stringify(line)}\n`)
  }
}

async function takeAll(archive: Archive, io: CommandIo, isJson: boolean): Promise<number> {
  const counts = { taken: 0, older: 0, refused: 0 }
  let batch: Array<{ readonly line: number; readonly envelope: Uint8Array }> = []
  let line = 0
  const refuse = (at: number, why: string): void => {
    counts.refused++
    const message = `line ${at}: ${why}`
    io.say(message)
    if (isJson) io.printer.print({ event: 'error', code: 'record-invalid', message })
  }
  const flush = async (): Promise<void> => {
    const due = batch
    batch = []
    const outcomes = await restored(
      archive,
      due.map(({ envelope }) => envelope)
    )
    for (const [at, taken] of outcomes.entries()) {
      if (taken.outcome === 'refused') refuse(due[at]!.line, REFUSALS[taken.code])
      else if (taken.outcome === 'older') counts.older++
      else counts.taken++
    }
  }
  const take = async (text: string): Promise<void> => {
    line++
    if (text.trim() === '') return
    const envelope = envelopeOf(text)
    if (envelope === undefined) return refuse(line, 'no JSON object with an envelope in base64')
    // here as well: a node that has the record already looks no further
    const fault = await faultOf(envelope)
    if (fault !== undefined) return refuse(line, REFUSALS[fault])
    batch.push({ line, envelope })
    if (batch.length >= MAX_RESTORED_AT_ONCE) await flush()
  }
  await readLines(io.host.stdin, take, () => refuse(++line, 'a line that long is no record'), io.signal)
  io.signal.throwIfAborted()
  if (batch.length > 0) await flush()
  if (counts.taken > 0) await archive.republish()
  io.printer.print({ event: 'imported', ...counts })
  return counts.refused > 0 ? EXIT.failed : EXIT.done
}

async function restored(archive: Archive, envelopes: readonly Uint8Array[]): Promise<readonly Taken[]> {
  if (archive.restoreAll !== undefined) return await archive.restoreAll(envelopes)
  const outcomes: Taken[] = []
  for (const envelope of envelopes) outcomes.push(await archive.restore(envelope))
  return outcomes
}

async function faultOf(envelope: Uint8Array): Promise<RecordFault | undefined> {
  const { unseal } = await import('../../shared/node/keys.ts') // cryptography that no other command loads
  try {
    await openRecord(envelope, unseal, Date.now())
    return undefined
  } catch (thrown) {
    if (thrown instanceof InvalidRecord) return thrown.fault
    throw thrown
  }
}

const REFUSALS = {
  malformed: 'malformed',
  signature: 'its signature does not hold',
  expired: 'it has expired',
  future: 'it is from the future: compare the clocks',
  full: 'there is no room for more of its kind or author',
  rate: 'too many at once',
  failed: 'it could not be written'
} as const satisfies Record<Extract<Taken, { readonly outcome: 'refused' }>['code'], string>

function envelopeOf(text: string): Uint8Array | undefined {
  try {
    const { envelope } = JSON.parse(text) as { readonly envelope?: unknown }
    if (typeof envelope !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(envelope)) return undefined
    return new Uint8Array(Buffer.from(envelope, 'base64'))
  } catch {
    return undefined
  }
}

function readable(key: SharedKey): RecordKey {
  if (key.kind === 'open') return key.name
  return key.kind === 'owned' ? { owner: key.owner, name: key.name } : { content: key.cid }
}
