import { appendFileSync, writeFileSync } from 'node:fs'
import { cp, rm } from 'node:fs/promises'
import { systemClock } from '../../src/shared/core/clock.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { deadline } from '../../src/shared/core/signals.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { placeOf, type RecordKey } from '../../src/shared/records/key.ts'
import { Lines } from '../../src/shared/records/lines.ts'
import { openRecord, signRecord } from '../../src/shared/records/record.ts'
import { envelopeOf } from '../../src/shared/records/shelf.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import { type Program, startBootstrap, TemporaryFolder } from '../support/process.ts'
import { openNode } from './kill-driver.ts'
import { checkRecords, type RecordEvent, type RecordVerdict } from './record-kill-check.ts'

const WRITERS = 8
const KEYS = 6
const ANSWER_MS = 5_000
/** A kill falls within so many milliseconds of the start, or of the moment it listens. */
const KILL_MS = 1_500

interface Target {
  readonly peerId: string
  readonly addresses: readonly string[]
}

class History {
  readonly events: RecordEvent[] = []
  readonly #file: string | undefined

  constructor(file: string | undefined) {
    this.#file = file
    if (file !== undefined) writeFileSync(file, '')
  }

  add(event: RecordEvent): void {
    this.events.push(event)
    if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify(event)}\n`)
  }
}

/** Overwrites its own keys, one record after the other, and reads those of all. */
class Writer {
  readonly #node: Libp2pNode
  readonly #name: string
  readonly #history: History
  readonly #random: () => number
  readonly #lines: Lines
  readonly #sequences = new Map<string, number>()

  constructor(node: Libp2pNode, name: string, history: History, random: () => number) {
    this.#node = node
    this.#name = name
    this.#history = history
    this.#random = random
    this.#lines = new Lines({ node, clock: systemClock, onChanged: () => undefined })
  }

  get keys(): ReadonlyArray<{ readonly name: string; readonly key: RecordKey }> {
    return Array.from({ length: KEYS }, (_, at) => ({
      name: `${this.#name}/${at}`,
      key: { kind: 'owned', owner: this.#node.peerId, name: String(at) }
    }))
  }

  async write(target: Target): Promise<void> {
    const { name, key } = this.keys[Math.floor(this.#random() * KEYS)]!
    const sequence = (this.#sequences.get(name) ?? 0) + 1
    this.#sequences.set(name, sequence)
    const issuedMs = Date.now()
    const body = new Uint8Array(Math.floor(this.#random() * 2_000))
    const value = { kind: VALUE_KIND.bytes, body }
    const fields = { key, sequence, issuedMs, expiresMs: issuedMs + 3_600_000, value }
    const { envelope } = await signRecord(this.#node, fields)
    this.#history.add({ type: 'invoke', key: name, sequence })
    try {
      using limit = deadline(ANSWER_MS, 'a write')
      const { refusal } = await this.#lines.ask(target, 'store', { envelope }, limit.signal)
      if (refusal !== undefined) throw new Error(refusal)
      this.#history.add({ type: 'ok', key: name, sequence })
    } catch {
      this.#history.add({ type: 'unknown', key: name, sequence })
    }
  }

  /** What the holder tells of a key. Nothing is noted when it does not answer. */
  async read(
    target: Target,
    id: number,
    { name, key }: { readonly name: string; readonly key: RecordKey }
  ): Promise<void> {
    this.#history.add({ type: 'read', id, key: name })
    using limit = deadline(ANSWER_MS, 'a read')
    const answer = await this.#lines.ask(target, 'find', { place: placeOf(key) }, limit.signal).catch(() => undefined)
    if (answer === undefined) return
    const { envelope } = answer
    if (envelope === undefined) this.#history.add({ type: 'seen', where: 'wire', id, key: name })
    else {
      const record = await openRecord(envelope, unseal, Date.now()).catch(() => undefined)
      if (record === undefined) this.#history.add({ type: 'unreadable', what: `${name} over the wire` })
      else this.#history.add({ type: 'seen', where: 'wire', id, key: name, sequence: record.sequence })
    }
  }

  close(): Promise<void> {
    return this.#lines.close()
  }
}

export interface RecordKillOptions {
  readonly cycles: number
  readonly seed: number
  readonly historyFile?: string
  readonly onCycle?: (cycle: number) => void
}

/** Kills a bootstrap `cycles` times under the overwrites of eight writers, and looks each time at disk and wire. */
export async function runRecordKills({
  cycles,
  seed,
  historyFile,
  onCycle
}: RecordKillOptions): Promise<RecordVerdict> {
  const random = seededRandom(seed)
  const history = new History(historyFile)
  await using scope = new AsyncDisposableStack()
  const folder = scope.use(await TemporaryFolder.create())
  const writers: Writer[] = []
  for (let at = 0; at < WRITERS; at++) {
    const writer = new Writer(scope.use(await openNode()), `writer-${at}`, history, random)
    scope.defer(() => writer.close())
    writers.push(writer)
  }
  let target: Target | undefined
  let isOver = false
  let lastRead = 0
  const work = writers.map(async writer => {
    while (!isOver) {
      if (target === undefined) await new Promise(resolve => setTimeout(resolve, 20))
      else if (random() < 0.8) await writer.write(target)
      else await writer.read(target, ++lastRead, pick(pick(writers, random).keys, random))
    }
  })
  let program: Program | undefined
  scope.defer(async () => {
    isOver = true
    await Promise.all(work)
    await program?.[Symbol.asyncDispose]()
  })
  for (let cycle = 1; cycle <= cycles; cycle++) {
    program = start(folder.at('data'))
    const { peerId, addresses } = await program.event('listening')
    history.add({ type: 'started' })
    const there = {
      peerId: String(peerId),
      addresses: (addresses as string[]).map(each => each.replace(/\/p2p\/.*/, ''))
    }
    for (const writer of writers) await writer.read(there, ++lastRead, pick(writer.keys, random))
    target = there
    await new Promise(resolve => setTimeout(resolve, random() * KILL_MS))
    await program.stop('SIGKILL')
    target = undefined
    history.add({ type: 'killed' })
    await look(folder.at('data'), folder.at('copy'), writers, history, () => ++lastRead)
    onCycle?.(cycle)
  }
  return checkRecords(history.events)
}

/** Reads a copy of the data folder: the first to recover the database shall be the bootstrap itself. */
async function look(
  folder: string,
  copy: string,
  writers: readonly Writer[],
  history: History,
  nextId: () => number
): Promise<void> {
  const names = new Map<string, string>()
  const reads = new Map<string, number>()
  for (const { name, key } of writers.flatMap(({ keys }) => keys)) {
    names.set(Buffer.from(placeOf(key)).toString('hex'), name)
    const id = nextId()
    reads.set(name, id)
    history.add({ type: 'read', id, key: name })
  }
  await cp(folder, copy, { recursive: true })
  {
    await using store = await openStore(copy)
    const { datastore, damage } = await store.openTable('records')
    if (damage !== undefined) history.add({ type: 'unreadable', what: damage.what })
    for await (const { key, value } of datastore.query({ prefix: '/muster/record/held' })) {
      const name = names.get(key.baseNamespace())
      try {
        const { sequence } = await openRecord(envelopeOf(value), unseal, Date.now())
        if (name === undefined) throw new Error('nobody wrote there')
        history.add({ type: 'seen', where: 'disk', id: reads.get(name)!, key: name, sequence })
        reads.delete(name)
      } catch (thrown) {
        history.add({ type: 'unreadable', what: `${key}: ${thrown}` })
      }
    }
  }
  for (const [name, id] of reads) history.add({ type: 'seen', where: 'disk', id, key: name })
  await rm(copy, { recursive: true })
}

function start(data: string): Program {
  return startBootstrap(['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--log-level', 'warn', '--data', data])
}

function pick<T>(from: readonly T[], random: () => number): T {
  return from[Math.floor(random() * from.length)] as T
}
