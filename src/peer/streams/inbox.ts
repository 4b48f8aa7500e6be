import { MusterError } from '../../shared/core/errors.ts'

/** What a piece costs besides its bytes, so that tiny ones are bounded too. */
const PIECE_COST_BYTES = 64

export interface InboxInit {
  /** Above it the inbox is full. */
  readonly maxBytes: number
  /** Nothing more is wanted: everything up to the end has come, or whoever read it stopped. Called once. */
  onStopped(): void
}

/** Bytes that came and were not read yet, in front of one reader. */
export class Inbox {
  readonly #init: InboxInit
  readonly #pieces: Uint8Array[] = []
  #bytes = 0
  #hasEnded = false
  /** Why the reader gets no more, beyond what is here. */
  #failure: MusterError | undefined
  #state: 'untouched' | 'read' | 'left' = 'untouched'
  #isTaken = false
  #hasStopped = false
  #wakeReader: (() => void) | undefined
  #openGate: (() => void) | undefined

  constructor(init: InboxInit) {
    this.#init = init
  }

  get isFull(): boolean {
    return this.#bytes > this.#init.maxBytes
  }

  /** Nothing is left that somebody may still take. */
  get isDrained(): boolean {
    return this.#state === 'left' || (this.#state === 'untouched' && this.#pieces.length === 0)
  }

  push(piece: Uint8Array): void {
    if (this.#hasStopped) return
    this.#pieces.push(piece)
    this.#bytes += piece.length + PIECE_COST_BYTES
    this.#wakeReader?.()
  }

  /** The other side has written everything. */
  end(): void {
    this.#hasEnded = true
    this.#wakeReader?.()
    this.#stop()
  }

  /** The stream broke: what has come is still read. */
  fail(error: MusterError): void {
    this.#failure ??= error
    this.#wakeReader?.()
    this.openGate()
  }

  /** Drops what is here and what comes. */
  stop(reason: MusterError): void {
    this.#failure ??= reason
    this.#leave()
    this.#wakeReader?.()
  }

  /** Resolves once there is room again. */
  gate(): Promise<void> {
    return new Promise(resolve => {
      this.#openGate = resolve
    })
  }

  openGate(): void {
    this.#openGate?.()
    this.#openGate = undefined
  }

  iterate(onLeft: () => void): AsyncIterator<Uint8Array> {
    if (this.#isTaken) throw new MusterError('closed', 'a byte stream is iterated once')
    this.#isTaken = true
    if (this.#state === 'untouched') this.#state = 'read'
    return this.#read(onLeft)
  }

  async *#read(onLeft: () => void): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const piece = this.#pieces.shift()
        if (piece !== undefined) {
          this.#bytes -= piece.length + PIECE_COST_BYTES
          if (!this.isFull) this.openGate()
          yield piece
        } else if (this.#hasEnded && this.#state === 'read') return
        else if (this.#failure !== undefined) throw this.#failure
        else {
          await new Promise<void>(resolve => {
            this.#wakeReader = resolve
          })
        }
      }
    } finally {
      this.#leave()
      onLeft()
    }
  }

  #leave(): void {
    this.#state = 'left'
    this.#pieces.length = 0
    this.#bytes = 0
    this.openGate()
    this.#stop()
  }

  #stop(): void {
    if (this.#hasStopped) return
    this.#hasStopped = true
    this.#init.onStopped()
  }
}
