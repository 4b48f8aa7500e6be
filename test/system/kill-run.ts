import { rm } from 'node:fs/promises'
import { asError } from '../../src/shared/core/errors.ts'
import { type Random, seededRandom } from '../../src/shared/core/random.ts'
import { deadline } from '../../src/shared/core/signals.ts'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { peekRecord } from '../../src/shared/roster/record.ts'
import { eventually } from '../support/eventually.ts'
import { type Program, startBootstrap, TemporaryFolder } from '../support/process.ts'
import { askForProviders } from './kill-ask.ts'
import { checkHistory, type Verdict } from './kill-check.ts'
import { readDataFolder } from './kill-data.ts'
import { Driver, openNode, type Target, TopicStream } from './kill-driver.ts'
import { type Ending, History, type SeenMember, type SeenProvider } from './kill-history.ts'

const DRIVERS = ['ana', 'bob', 'cleo', 'dan']
/** Per driver as many registrations as topics. */
const TOPICS = 24
/** How often a life ends how, and within which milliseconds of its beginning (or of SIGTERM) the kill falls. */
const ENDINGS: ReadonlyArray<{ readonly ending: Ending; readonly share: number; readonly killMs: [number, number] }> = [
  { ending: 'running', share: 0.55, killMs: [30, 2_500] },
  { ending: 'starting', share: 0.2, killMs: [0, 1_000] },
  { ending: 'stopping', share: 0.2, killMs: [0, 150] },
  // beyond the grace of 5 s after which a bootstrap checks the members it remembers
  { ending: 'aged', share: 0.05, killMs: [6_000, 8_000] }
]

export interface KillRunOptions {
  readonly cycles: number
  readonly seed: number
  /** Where the history goes as JSON lines. */
  readonly historyFile?: string
  /** Told after each cycle. */
  readonly onCycle?: (cycle: number, ending: Ending) => void
}

export interface KillRun {
  readonly verdict: Verdict
  /** Kills that cut a write in the middle. */
  readonly tornWrites: number
  readonly history: History
}

/**
 * Kills a bootstrap `cycles` times while four peers announce and leave, and looks each time what its data folder holds and
 * what it says after the restart. The seed fixes what is drawn, not how processes are scheduled.
 */
export async function runKills(options: KillRunOptions): Promise<KillRun> {
  const history = new History(options.historyFile)
  await using folder = await TemporaryFolder.create()
  await using run = await Run.start(folder, history, options)
  for (let cycle = 1; cycle <= options.cycles; cycle++) {
    const ending = await run.cycle()
    options.onCycle?.(cycle, ending)
  }
  await run.lastStart()
  return { verdict: checkHistory(history.events), tornWrites: run.tornWrites, history }
}

class Run implements AsyncDisposable {
  tornWrites = 0
  readonly #history: History
  readonly #folder: TemporaryFolder
  readonly #topics: readonly Topic[]
  readonly #random: Random
  readonly #scope = new AsyncDisposableStack()
  #drivers: readonly Driver[] = []
  #stranger!: Libp2pNode
  #program: Program | undefined
  #life = 0
  /** What drivers may talk to. */
  #target: Target | undefined
  #isKilled = false
  /** Of the last life: drivers are not held back by it while the next one starts. */
  #lastTarget: Target | undefined

  private constructor(folder: TemporaryFolder, history: History, topics: readonly Topic[], random: Random) {
    this.#folder = folder
    this.#history = history
    this.#topics = topics
    this.#random = random
  }

  static async start(folder: TemporaryFolder, history: History, { seed }: KillRunOptions): Promise<Run> {
    const random = seededRandom(seed)
    const topics = await Promise.all(Array.from({ length: TOPICS }, (_, i) => topicOf(`kill-${i}`)))
    const run = new Run(folder, history, topics, random)
    run.#scope.defer(() => run.#program?.[Symbol.asyncDispose]())
    run.#stranger = run.#scope.use(await openNode())
    const drivers: Driver[] = []
    for (const name of DRIVERS) {
      const needs = { name, topics, history, random: seededRandom(Math.floor(random() * 2 ** 32)) }
      const now = { target: () => run.#target, life: () => run.#life, isKilled: () => run.#isKilled }
      drivers.push(run.#scope.use(await Driver.start({ ...needs, ...now })))
    }
    run.#drivers = drivers
    await run.#listen()
    await run.#kill('running', 500)
    return run
  }

  /** One life of the bootstrap: start, what a stranger sees, work, kill, what is on the disk. */
  async cycle(): Promise<Ending> {
    const { ending, killMs } = this.#draw()
    const [from, to] = killMs
    const afterMs = from + this.#random() * (to - from)
    if (ending === 'starting') {
      // nobody waits for it: members come as soon as it accepts connections
      this.#target = this.#lastTarget === undefined ? undefined : { ...this.#lastTarget, life: this.#life + 1 }
      this.#spawn()
    } else {
      await this.#listen()
      await this.#askAsStranger()
    }
    await this.#kill(ending, afterMs)
    return ending
  }

  /** The last look: it still starts after everything that was done to it. */
  async lastStart(): Promise<void> {
    await this.#listen()
    await this.#askAsStranger()
    await this.#program?.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.disposeAsync()
  }

  #draw(): (typeof ENDINGS)[number] {
    let left = this.#random()
    for (const each of ENDINGS) {
      left -= each.share
      if (left < 0) return each
    }
    return ENDINGS[0]!
  }

  #spawn(): void {
    this.#life++
    this.#isKilled = false
    const data = this.#folder.at('data')
    const args = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--log-level', 'warn', '--data', data]
    this.#program = startBootstrap(args)
  }

  /** Starts it and waits until it listens; drivers stay away. */
  async #listen(): Promise<void> {
    const begun = performance.now()
    this.#spawn()
    try {
      const { peerId, addresses } = await this.#program!.event('listening')
      const startMs = Math.round(performance.now() - begun)
      this.#lastTarget = {
        life: this.#life,
        peerId: String(peerId),
        addresses: (addresses as string[]).map(withoutPeer)
      }
      this.#history.add({ type: 'started', life: this.#life, peerId: String(peerId), startMs })
    } catch (thrown) {
      this.#history.add({ type: 'broken', life: this.#life, reason: asError(thrown).message })
      throw thrown
    }
  }

  async #askAsStranger(): Promise<void> {
    const target = this.#lastTarget!
    using limit = deadline(30_000, 'a stranger’s questions')
    const stream = await TopicStream.open(this.#stranger, target, limit.signal)
    const members: SeenMember[] = []
    const providers: SeenProvider[] = []
    for (const topic of this.#topics) {
      const { entries } = await stream.ask(topic, { hello: { topic: topic.key } })
      for (const { envelope } of entries) {
        const { peerId, sequence, left } = peekRecord(envelope)
        members.push({ topic: topic.id, peerId, sequence, left })
      }
      for (const peerId of await askForProviders(this.#stranger, target.peerId, topic.key, limit.signal)) {
        providers.push({ topic: topic.id, peerId })
      }
    }
    stream.close()
    this.#history.add({ type: 'seen', where: 'wire', life: this.#life, peerId: target.peerId, members, providers })
  }

  async #kill(ending: Ending, afterMs: number): Promise<void> {
    const program = this.#program!
    if (ending !== 'starting') this.#target = this.#lastTarget
    if (ending === 'stopping') {
      await pause(200 + this.#random() * 800)
      this.#isKilled = true
      program.signal('SIGTERM')
    }
    await pause(afterMs)
    this.#isKilled = true
    const isLate = program.exit !== undefined
    program.signal('SIGKILL')
    const { code } = await program.exited
    if (isLate && ending !== 'stopping') {
      this.#history.add({ type: 'broken', life: this.#life, reason: `exit code ${code}: ${program.stderr}` })
    }
    this.#history.add({ type: 'killed', life: this.#life, ending, isLate })
    this.#target = undefined
    await eventually('every driver has given up what was under way', () => this.#drivers.every(each => each.isIdle))
    await this.#lookAtDisk()
  }

  async #lookAtDisk(): Promise<void> {
    const copy = this.#folder.at('copy')
    try {
      const { isTorn, ...seen } = await readDataFolder(this.#folder.at('data'), copy, this.#topics)
      if (isTorn) this.tornWrites++
      this.#history.add({ type: 'seen', where: 'disk', life: this.#life, ...seen })
    } catch (thrown) {
      this.#history.add({ type: 'broken', life: this.#life, reason: `data folder: ${asError(thrown).message}` })
    }
    await rm(copy, { recursive: true, force: true })
  }
}

/** The moment of a kill is what is drawn here, and nothing is waited for. */
async function pause(ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms))
}

function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '')
}
