import { PassThrough, Writable } from 'node:stream'
import type {
  AskResult,
  BroadcastResult,
  ByteStream,
  FoundRecord,
  GetOptions,
  Group,
  GroupEvents,
  HistoryOptions,
  Member,
  Message,
  OwnRecord,
  Peer,
  PeerEvents,
  PutOptions,
  PutResult,
  Receipt,
  RecordKey,
  Records,
  RecordVersion,
  Value
} from '../../src/peer/api.ts'
import type { CliEvent, CliEventName } from '../../src/peer/cli/events.ts'
import type { Host } from '../../src/peer/cli/host.ts'
import type { Archive } from '../../src/peer/cli/local-records.ts'
import type { Printer } from '../../src/peer/cli/printer.ts'
import { ReceivedMessage } from '../../src/peer/topics/received.ts'
import type { PeerId } from '../../src/shared/core/address.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { Emitter } from '../../src/shared/core/events.ts'
import { Scope, type Undo } from '../../src/shared/core/lifecycle.ts'
import { normalTopicName } from '../../src/shared/core/topic.ts'
import type { Node, WaitOptions } from '../../src/shared/node/port.ts'
import type { Status } from '../../src/shared/status/status.ts'

export const SELF = '12D3KooWSELFSELFSELFSELFSELFSELFSELFSELFSELFSELF1Sexf'

export function memberOf(end: string, name?: string, verified = true): Member {
  const peerId = `12D3KooW${'x'.repeat(44 - end.length)}${end}`
  return { peerId, name, addresses: ['/ip4/127.0.0.1/tcp/4001'], verified }
}

/** A group whose members and failures the test decides; it keeps what was sent. */
export class FakeGroup extends Emitter<GroupEvents> implements Group {
  readonly topic: string
  readonly topicId = 'bafkreifake'
  readonly sent: Array<{ to: PeerId; value: Value }> = []
  readonly said: Value[] = []
  readonly failures = new Map<PeerId, MusterError>()
  readonly list: Member[] = []
  readonly #scope = new Scope()
  readonly signal = this.#scope.signal

  constructor(topic: string, onClose: (group: FakeGroup) => void) {
    super()
    this.topic = topic
    this.#scope.defer(() => onClose(this))
  }

  members(): readonly Member[] {
    return [...this.list]
  }

  meet(member: Member): void {
    this.list.push(member)
    this.emit('member', member)
  }

  /** What the listeners make of a message, as for its receipt. */
  hear(from: Member, value: Value): boolean | Promise<boolean> {
    return this.offer('message', this.#message(from, value))
  }

  async send(member: Member | PeerId, value: Value): Promise<Receipt> {
    const to = typeof member === 'string' ? member : member.peerId
    const failure = this.failures.get(to)
    if (failure !== undefined) throw failure
    this.sent.push({ to, value })
    return { to, topic: this.topic, id: String(this.sent.length), rttMs: 1.25 }
  }

  /** Members answer with what they were asked. */
  async ask(member: Member | PeerId, value: Value): Promise<Message> {
    const { to } = await this.send(member, value)
    return this.#message(this.list.find(({ peerId }) => peerId === to) ?? memberOf(to), value)
  }

  async *askMany(_members: unknown, value: Value): AsyncGenerator<AskResult> {
    for (const { peerId } of this.list) {
      const failure = this.failures.get(peerId)
      if (failure !== undefined) yield { peerId, outcome: 'refused', error: failure }
      else yield { peerId, outcome: 'answered', reply: await this.ask(peerId, value) }
    }
  }

  /** A member asks; returns what is answered. */
  beAsked(from: Member, value: Value): Value[] {
    const answers: Value[] = []
    const request = {
      signal: new AbortController().signal,
      async respond(answer: Value) {
        answers.push(answer)
        return { id: answers.length, rttMs: 1 }
      },
      ask: () => Promise.reject(new MusterError('timed-out'))
    }
    const delivery = { from: from.peerId, id: '8', value, request }
    this.emit('message', new ReceivedMessage(delivery, from.name, this.topic))
    return answers
  }

  /** Opens streams; tests that want some replace it. */
  openStream = async (_member: Member | PeerId, _name: string): Promise<ByteStream> => {
    throw new MusterError('no-handler')
  }

  readonly handlers = new Map<string, (stream: ByteStream) => void | Promise<void>>()

  onStream(name: string, handler: (stream: ByteStream) => void | Promise<void>): Undo {
    this.handlers.set(name, handler)
    return () => this.handlers.delete(name)
  }

  /** Members without a failure acknowledge. */
  async broadcast(value: Value): Promise<BroadcastResult> {
    this.said.push(value)
    const acknowledged = this.list.map(({ peerId }) => peerId).filter(peerId => !this.failures.has(peerId))
    return { id: `b${this.said.length}`, sequence: this.said.length, peers: this.list.length, acknowledged }
  }

  readonly past: Value[] = []

  async history({ limit = 100 }: HistoryOptions = {}): Promise<readonly Message[]> {
    return this.past.slice(-limit).map((value, at) => {
      const delivery = {
        from: SELF,
        id: String(at),
        value,
        via: 'history',
        sentAt: '2026-11-25T00:00:00.000Z'
      } as const
      return new ReceivedMessage(delivery, undefined, this.topic)
    })
  }

  leave(): Promise<void> {
    return this.close()
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #message(from: Member, value: Value): Message {
    return new ReceivedMessage({ from: from.peerId, id: '7', value }, from.name, this.topic)
  }
}

/** Records in memory; the test decides how many nodes store them, and what fails. */
export class FakeRecords implements Records {
  readonly versions = new Map<string, RecordVersion>()
  stored = 5
  failure: MusterError | undefined
  /** What was asked for, with its options. */
  readonly asked: unknown[][] = []
  readonly #self: PeerId
  readonly #changes = new Emitter<{ change: RecordVersion }>()

  constructor(self: PeerId) {
    this.#self = self
  }

  async put(key: RecordKey | null, value: Value, options: PutOptions = {}): Promise<PutResult> {
    this.#ask('put', key, value, options)
    return this.#write(key ?? { content: 'bafkreifake' }, value)
  }

  async get(key: RecordKey, options: GetOptions = {}): Promise<FoundRecord | undefined> {
    this.#ask('get', key, options)
    const found = this.versions.get(this.#nameOf(key))
    if (found?.value === undefined) return undefined
    return { ...found, value: found.value, holders: 3, answers: 4 }
  }

  async delete(key: RecordKey, options: WaitOptions = {}): Promise<PutResult> {
    this.#ask('delete', key, options)
    return this.#write(key, undefined)
  }

  async *watch(key: RecordKey, { signal }: WaitOptions = {}): AsyncGenerator<RecordVersion> {
    this.#ask('watch', key)
    const first = this.versions.get(this.#nameOf(key))
    const due = first === undefined ? [] : [first]
    let wake = Promise.withResolvers<void>()
    const undo = this.#changes.on('change', version => {
      if (this.#nameOf(version.key) !== this.#nameOf(key)) return
      due.push(version)
      wake.resolve()
    })
    signal?.addEventListener('abort', () => wake.resolve())
    try {
      while (signal?.aborted !== true) {
        const next = due.shift()
        if (next !== undefined) yield next
        else {
          await wake.promise
          wake = Promise.withResolvers()
        }
      }
    } finally {
      undo()
    }
  }

  async list(): Promise<readonly OwnRecord[]> {
    this.#ask('list')
    return [...this.versions.values()].flatMap(({ value, ...rest }) =>
      value === undefined ? [] : [{ ...rest, value, stored: this.stored, renew: false }]
    )
  }

  #ask(...asked: unknown[]): void {
    this.asked.push(asked)
    if (this.failure !== undefined) throw this.failure
  }

  #write(key: RecordKey, value: Value | undefined): PutResult {
    const full = typeof key === 'object' && 'name' in key ? { owner: this.#self, name: key.name } : key
    const name = this.#nameOf(full)
    const version = {
      key: full,
      value,
      author: this.#self,
      sequence: (this.versions.get(name)?.sequence ?? 0) + 1,
      issuedAt: '2026-11-25T00:00:00.000Z',
      expiresAt: '2026-11-27T00:00:00.000Z'
    }
    this.versions.set(name, version)
    this.#changes.emit('change', version)
    return { ...version, stored: this.stored, isQuorum: this.stored >= 3 }
  }

  #nameOf(key: RecordKey): string {
    return JSON.stringify(typeof key === 'object' && 'name' in key ? [key.owner ?? this.#self, key.name] : key)
  }
}

export class FakePeer extends Emitter<PeerEvents> implements Peer {
  readonly peerId = SELF
  readonly name: string | undefined
  readonly addresses = [`/ip4/127.0.0.1/tcp/4000/p2p/${SELF}`]
  readonly httpUrl = undefined
  readonly dataFolder = undefined
  readonly groups: FakeGroup[] = []
  readonly node = undefined as unknown as Node
  readonly records = new FakeRecords(SELF)
  readonly archive = undefined as unknown as Archive
  isReady = false
  readonly #scope = new Scope()
  readonly signal = this.#scope.signal
  /** What `close` waits for. */
  closing: Promise<void> = Promise.resolve()

  constructor(name?: string) {
    super()
    this.name = name
  }

  async join(topic: string): Promise<FakeGroup> {
    const name = normalTopicName(topic)
    if (this.groups.some(group => group.topic === name)) throw new MusterError('already-joined')
    const joined = new FakeGroup(name, group => this.groups.splice(this.groups.indexOf(group), 1))
    this.groups.push(joined)
    return joined
  }

  async connect(address: string): Promise<PeerId> {
    if (!address.includes(':')) throw new MusterError('address-invalid', `${address} is no address`)
    return memberOf('boot01').peerId
  }

  async disconnect(address: string): Promise<void> {
    if (!address.includes(':')) throw new MusterError('address-invalid', `${address} is no address`)
  }

  async status(): Promise<Status> {
    return {
      role: 'peer',
      peerId: this.peerId,
      network: 'muster',
      version: '0.1.0',
      addresses: this.addresses,
      uptimeSeconds: 3725,
      connections: { inbound: 1, outbound: 2 },
      routingTable: { size: 3 },
      topics: this.groups.map(({ topic, topicId, list }) => ({ key: topicId, name: topic, members: list.length })),
      records: { count: 2, bytes: 2048, own: 1, providers: 1, members: 1 },
      disk: { path: null, bytes: 0 },
      health: { ok: true }
    }
  }

  async close(): Promise<void> {
    await this.#scope.close()
    await this.closing
  }

  /** Closes by itself. */
  fail(reason: MusterError): void {
    void this.#scope.close(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A printer that keeps what it was told. */
export class Record implements Printer {
  readonly events: CliEvent[] = []

  print(event: CliEvent): void {
    this.events.push(event)
  }

  all<N extends CliEventName>(name: N): Array<Extract<CliEvent, { event: N }>> {
    return this.events.filter((event): event is Extract<CliEvent, { event: N }> => event.event === name)
  }

  /** The last event, which must be an error. */
  error(): { code: string; message: string } {
    const last = this.events.at(-1)
    if (last?.event !== 'error') throw new Error(`the last event is ${JSON.stringify(last)}`)
    return last
  }
}

/** A stream that keeps its text, while somebody reads. */
export class Text extends Writable {
  text = ''
  #waiting: (() => void) | undefined
  #isStalled = false

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString()
    if (this.#isStalled) this.#waiting = done
    else done()
  }

  /** The reader stands still until it goes on. */
  stall(): void {
    this.#isStalled = true
  }

  go(): void {
    this.#isStalled = false
    this.#waiting?.()
  }
}

export class FakeHost implements Host {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly nodeVersion: string
  readonly stdin = new PassThrough()
  readonly stdout = new Text()
  readonly stderr = new Text()
  readonly exits: number[] = []
  readonly exited: Promise<number>
  readonly #exited = Promise.withResolvers<number>()
  readonly #listeners: Array<() => void> = []

  constructor(argv: readonly string[] = [], env: NodeJS.ProcessEnv = {}, nodeVersion = '24.12.0') {
    this.argv = argv
    this.env = env
    this.nodeVersion = nodeVersion
    this.exited = this.#exited.promise
  }

  onSignal(listener: () => void): void {
    this.#listeners.push(listener)
  }

  signal(): void {
    for (const listener of this.#listeners) listener()
  }

  exit(code: number): void {
    this.exits.push(code)
    this.#exited.resolve(code)
  }
}
