import type { PeerId } from '../../shared/core/address.ts'
import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import { Slots } from '../../shared/core/slots.ts'
import { normalTopicName } from '../../shared/core/topic.ts'
import type { Group, Json, Member, Message, Peer, Receipt, Value } from '../api.ts'
import type { Files } from './files.ts'
import type { Output } from './output.ts'
import type { Printer } from './printer.ts'
import { Questions } from './questions.ts'
import { shortId } from './shown.ts'
import { Watches } from './watches.ts'

/** Sends under way at once: a topic may have thousands of members, each of whom may have to be dialled. */
const MAX_SENDS = 64
/** Milliseconds members have to say that they received a broadcast. */
const ACK_MS = 2_000

/** A peer as one user drives it: which topic typed text goes to, and everything that happens, printed. */
export interface Session {
  readonly peer: Peer
  readonly printer: Printer
  /** Where the printer prints to. */
  readonly output: Pick<Output, 'isFull' | 'whenRoom'>
  /** Where typed text goes; undefined outside every topic. */
  readonly current: Group | undefined
  readonly watches: Watches
  /** Joins a topic, follows what happens there, and makes it the current one. */
  join(topic: string): Promise<void>
  /** Says goodbye to a topic, the current one when none is given. */
  leave(topic: string | undefined): Promise<void>
  /** Makes a joined topic the current one. */
  select(topic: string): void
  /** Sends to one member and prints the receipt. */
  send(group: Group, member: Member, value: Value): Promise<void>
  /** Broadcasts in the current topic, and prints how many received it. */
  say(value: Value): Promise<void>
  /** Asks one member and prints the answer. */
  ask(group: Group, member: Member, value: Value): Promise<void>
  /** Asks everybody in a topic and prints what comes of each, as it comes. */
  askAll(group: Group, value: Value): Promise<void>
  /** Answers a question of a member, by the number it was printed with. */
  answer(number: number, value: Value): Promise<void>
  /** Prints what was said before. */
  history(group: Group, limit: number): Promise<void>
  /** Sends a file; where one types, resolves at once and prints what comes of it, otherwise once the file is there. */
  sendFile(group: Group, member: Member, path: string): Promise<void>
  /** Ends the program. */
  quit(): void
}

export interface SessionInit {
  /** Ends the program. */
  readonly quit: () => void
  /** Files to and from members. */
  readonly files: Pick<Files, 'send' | 'serve'>
  /** Where the printer prints to. */
  readonly output: Session['output']
  /** Somebody types, and does not want to wait for a file to be sent. */
  readonly isInteractive: boolean
}

export function createSession(peer: Peer, printer: Printer, init: SessionInit): Session {
  return new PeerSession(peer, printer, init)
}

class PeerSession implements Session {
  readonly peer: Peer
  readonly printer: Printer
  readonly output: Session['output']
  readonly quit: () => void
  readonly watches: Watches
  readonly #sends = new Slots(MAX_SENDS)
  readonly #questions = new Questions()
  readonly #files: SessionInit['files']
  readonly #isInteractive: boolean
  #current: Group | undefined

  constructor(peer: Peer, printer: Printer, { quit, files, output, isInteractive }: SessionInit) {
    this.#files = files
    this.output = output
    this.#isInteractive = isInteractive
    this.peer = peer
    this.printer = printer
    this.quit = quit
    this.watches = new Watches(peer, printer)
    if (peer.isReady) printer.print({ event: 'ready' })
    else peer.on('ready', () => printer.print({ event: 'ready' }))
    peer.on('problem', ({ code, message }) => printer.print({ event: 'error', code, message }))
  }

  get current(): Group | undefined {
    return this.#current
  }

  async join(topic: string): Promise<void> {
    const group = await this.peer.join(topic)
    this.#current = group
    this.printer.print({ event: 'joined', topic: group.topic })
    this.#follow(group)
  }

  async leave(topic: string | undefined): Promise<void> {
    const group = topic === undefined ? this.#currentGroup() : this.#group(topic)
    await group.leave()
    const { peerId, name } = this.peer
    this.printer.print({ event: 'left', topic: group.topic, peerId, name, reason: 'goodbye', isSelf: true })
    if (this.#current !== group) return
    this.#current = this.peer.groups.find(other => other !== group)
    if (this.#current !== undefined) this.printer.print({ event: 'topic', topic: this.#current.topic })
  }

  select(topic: string): void {
    this.#current = this.#group(topic)
    this.printer.print({ event: 'topic', topic: this.#current.topic })
  }

  async send(group: Group, member: Member, value: Value): Promise<void> {
    this.#printReceipt(await group.send(member, value), member)
  }

  async sendFile(group: Group, member: Member, path: string): Promise<void> {
    const sending = this.#files.send(group, member, path).catch((thrown: unknown) => {
      const { code, message } = asMusterError(thrown, 'closed')
      if (code === 'command-invalid') throw thrown
      const text = `${JSON.stringify(path)} was not received by ${shortId(member.peerId)}: ${message}`
      throw new MusterError(code, text, { cause: thrown })
    })
    if (!this.#isInteractive) return await sending
    sending.catch((thrown: unknown) => {
      const { code, message } = asMusterError(thrown, 'closed')
      this.printer.print({ event: 'error', code, message })
    })
  }

  async say(value: Value): Promise<void> {
    const group = this.#currentGroup()
    const members = group.members().length
    const { id, acknowledged } = await group.broadcast(value, { ackMs: ACK_MS })
    this.printer.print({ event: 'said', topic: group.topic, id, received: acknowledged.length, members })
  }

  async ask(group: Group, member: Member, value: Value): Promise<void> {
    this.#printAnswer(await group.ask(member, value))
  }

  async askAll(group: Group, value: Value): Promise<void> {
    for await (const result of group.askMany('all', value)) {
      await this.output.whenRoom(group.signal, () => {
        if (result.outcome === 'answered') this.#printAnswer(result.reply)
        else this.#printFailure('not answered by', result.error, result.peerId)
      })
    }
  }

  async answer(number: number, value: Value): Promise<void> {
    const { topic, from, name } = await this.#questions.answer(number, value)
    this.printer.print({ event: 'answered', topic, to: from, name, question: number })
  }

  async history(group: Group, limit: number): Promise<void> {
    const messages = await group.history({ limit })
    for (const message of messages) {
      await this.output.whenRoom(group.signal, () => this.#printMessage(message))
    }
    this.printer.print({ event: 'history', topic: group.topic, messages: messages.length })
  }

  /** Prints what happens in a group, and greets each member once when it is met. */
  #follow(group: Group): void {
    const { topic } = group
    const greeted = new Set<string>()
    const meet = (member: Member): void => {
      const { peerId, name, addresses, verified } = member
      this.printer.print({ event: 'member', topic, peerId, name, addresses, verified })
      // One that is only vouched for is not met yet: it comes again as verified.
      if (!verified || greeted.has(peerId)) return
      greeted.add(peerId)
      void this.#greet(group, member)
    }
    group.on('member', meet)
    group.on('left', ({ peerId, name, reason }) => {
      greeted.delete(peerId)
      this.printer.print({ event: 'left', topic, peerId, name, reason })
    })
    group.on('message', message => this.#take(group, message))
    this.#files.serve(group)
    for (const member of group.members()) meet(member) // those found before we listened
  }

  /** Prints a message. Where nobody reads, what was sent to us alone waits, and so does its sender's receipt. */
  #take(group: Group, message: Message): Promise<void> | undefined {
    const print = (): void => this.#printMessage(message, this.#questions.add(message))
    if (message.via !== 'direct' || !this.output.isFull) return void print()
    return this.output.whenRoom(group.signal, print)
  }

  async #greet(group: Group, member: Member): Promise<void> {
    const { name, peerId } = this.peer
    const value: Json = { test: 'hello', from: name ?? shortId(peerId) }
    try {
      await this.#sends.run(() => this.send(group, member, value))
    } catch (thrown) {
      if (!group.signal.aborted) this.#printFailure('not received by', thrown, member.peerId)
    }
  }

  #printReceipt({ to, topic, id, rttMs }: Receipt, { name }: Member): void {
    this.printer.print({ event: 'sent', topic, to, name, id, rttMs })
  }

  #printMessage({ topic, from, name, id, value, via, sentAt }: Message, question?: number): void {
    this.printer.print({ event: 'message', topic, from, name, id, value, via, sentAt, question })
  }

  #printAnswer({ topic, from, name, id, value }: Message): void {
    this.printer.print({ event: 'answer', topic, from, name, id, value })
  }

  #printFailure(what: string, thrown: unknown, peerId: PeerId): void {
    const { code, message } = asMusterError(thrown, 'unreachable')
    this.printer.print({ event: 'error', code, message: `${what} ${shortId(peerId)}: ${message}` })
  }

  #currentGroup(): Group {
    if (this.#current === undefined) {
      throw new MusterError('command-invalid', 'you are in no topic; /join <topic> enters one')
    }
    return this.#current
  }

  #group(topic: string): Group {
    const name = normalTopicName(topic)
    const group = this.peer.groups.find(candidate => candidate.topic === name)
    if (group === undefined) {
      throw new MusterError('command-invalid', `you are not in ${JSON.stringify(name)}; /join ${name} enters it`)
    }
    return group
  }
}
