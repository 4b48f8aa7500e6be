import type { PeerAddress, PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { type Deadline, Deadlines } from '../core/deadlines.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { Scope } from '../core/lifecycle.ts'
import { deadlineBy, raceSignal } from '../core/signals.ts'
import type { Channel, Node } from '../node/port.ts'
import { MAX_RECORD_FRAME_BYTES, RECORD_PROTOCOL, type RecordFrame, recordFrameCodec } from '../wire/record.ts'
import { LINE_IDLE_MS, NODE_TIMEOUT_MS } from './limits.ts'

type Frame<K extends keyof RecordFrame> = NonNullable<RecordFrame[K]>
type Question<K extends keyof RecordFrame> = Omit<Frame<K>, 'id'>

/** What each request is answered with. */
interface Answers {
  find: 'found'
  store: 'stored'
  offers: 'wanted'
}
const ANSWERS: Answers = { find: 'found', store: 'stored', offers: 'wanted' }

export interface LinesNeeds {
  readonly node: Pick<Node, 'open' | 'connect' | 'isConnected'>
  readonly clock: Clock
  /** The other side tells of a record that is watched there. */
  onChanged(from: PeerId, envelope: Uint8Array): void
}

/** One stream for each node that is asked, kept open: a new stream costs more than the request (T28). */
export class Lines {
  readonly #needs: LinesNeeds
  readonly #deadlines: Deadlines
  readonly #lines = new Map<PeerId, Promise<Line>>()
  readonly #scope = new Scope()

  constructor(needs: LinesNeeds) {
    this.#needs = needs
    this.#deadlines = new Deadlines(needs.clock)
    this.#scope.defer(needs.clock.every(LINE_IDLE_MS, () => void this.#closeIdle()))
    this.#scope.defer(async () => {
      for (const line of await Promise.allSettled(this.#lines.values())) {
        if (line.status === 'fulfilled') line.value.channel.abort(new MusterError('closed'))
      }
    })
  }

  /**
   * Asks a node, which is dialled if need be.
   * @throws MusterError `unreachable` | `timed-out` | `refused` | `limit-reached` | `protocol-violation` | `network-mismatch` | `closed` | `aborted`.
   */
  async ask<K extends keyof Answers>(
    target: PeerAddress,
    kind: K,
    question: Question<K>,
    signal: AbortSignal
  ): Promise<Frame<Answers[K]>> {
    signal.throwIfAborted()
    const line = this.#lines.get(target.peerId) ?? this.#open(target)
    return await raceSignal((await raceSignal(line, signal)).ask(kind, question), signal)
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  /** A stream nobody needs would keep its connection from being closed to make room. */
  async #closeIdle(): Promise<void> {
    for (const [peerId, opening] of [...this.#lines]) {
      const line = await opening.catch(() => undefined) // it could not be opened: whoever asked has heard
      if (line === undefined || !line.isIdle) continue
      this.#lines.delete(peerId)
      line.channel.close().catch(() => undefined) // it is gone already
    }
  }

  #open(target: PeerAddress): Promise<Line> {
    const { node, clock, onChanged } = this.#needs
    const { peerId } = target
    const opening = (async () => {
      using limit = deadlineBy(clock, NODE_TIMEOUT_MS, `a record stream to ${peerId}`, this.#scope.signal)
      const { signal } = limit
      signal.throwIfAborted()
      if (!node.isConnected(peerId)) await node.connect(target, { signal })
      const channel = await node.open(peerId, RECORD_PROTOCOL, { maxFrameBytes: MAX_RECORD_FRAME_BYTES, signal })
      return new Line(channel, this.#deadlines, envelope => onChanged(peerId, envelope))
    })()
    const forget = (): void => {
      if (this.#lines.get(peerId) === opening) this.#lines.delete(peerId)
    }
    this.#lines.set(peerId, opening)
    opening.then(({ channel }) => {
      if (channel.signal.aborted) forget()
      else channel.signal.addEventListener('abort', forget, { once: true })
    }, forget)
    return opening
  }
}

interface Asked {
  readonly kind: string
  readonly answer: PromiseWithResolvers<never>
  readonly deadline: Deadline
}

class Line {
  readonly channel: Channel
  readonly #deadlines: Deadlines
  readonly #asked = new Map<number, Asked>()
  readonly #onChanged: (envelope: Uint8Array) => void
  #lastId = 0
  #isUsed = true

  constructor(channel: Channel, deadlines: Deadlines, onChanged: (envelope: Uint8Array) => void) {
    this.channel = channel
    this.#deadlines = deadlines
    this.#onChanged = onChanged
    void this.#read()
  }

  /** Nothing was asked since this was looked at last. */
  get isIdle(): boolean {
    const isIdle = !this.#isUsed && this.#asked.size === 0
    this.#isUsed = false
    return isIdle
  }

  ask<K extends keyof Answers>(kind: K, question: Question<K>): Promise<Frame<Answers[K]>> {
    this.#isUsed = true
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1
    const id = this.#lastId
    const answer = Promise.withResolvers<never>()
    const deadline = this.#deadlines.after(NODE_TIMEOUT_MS, () => {
      this.#asked.delete(id)
      answer.reject(new MusterError('timed-out', `${this.channel.peerId}: no answer within ${NODE_TIMEOUT_MS} ms`))
    })
    this.#asked.set(id, { kind: ANSWERS[kind], answer, deadline })
    const frame = recordFrameCodec.encode({ [kind]: { id, ...question } } as RecordFrame)
    this.channel.send(frame).catch(() => undefined) // the channel is gone: its reader ends every request
    return answer.promise
  }

  async #read(): Promise<void> {
    try {
      for await (const frames of this.channel.batches)
        for (const bytes of frames) this.#take(recordFrameCodec.decode(bytes))
      throw new MusterError('closed', 'the other side closed the record stream')
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      for (const { answer, deadline } of this.#asked.values()) {
        deadline.stop()
        answer.reject(error)
      }
      this.#asked.clear()
      this.channel.abort(error)
    }
  }

  #take(frame: RecordFrame): void {
    const [[kind, said] = [], ...more] = Object.entries(frame)
    if (kind === undefined || said === undefined || more.length > 0) {
      throw new MusterError('protocol-violation', 'a record frame that does not say exactly one thing')
    }
    if (kind === 'changed') {
      this.#onChanged((said as Frame<'changed'>).envelope)
      return
    }
    const { id } = said as { id: number }
    const asked = this.#asked.get(id)
    if (asked === undefined) return // answered after its time
    asked.deadline.stop()
    this.#asked.delete(id)
    if (kind === 'refusal') {
      const { code } = said as Frame<'refusal'>
      asked.answer.reject(
        new MusterError(code === 'limit-reached' ? code : 'refused', 'a node refused a record request')
      )
    } else if (kind === asked.kind) asked.answer.resolve(said as never)
    else {
      const violation = new MusterError('protocol-violation', 'an answer to something else')
      asked.answer.reject(violation)
      throw violation
    }
  }
}
