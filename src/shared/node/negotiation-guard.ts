import type { Connection, Stream, StreamMessageEvent, TypedEventTarget } from '@libp2p/interface'
import type { Registrar } from '@libp2p/interface-internal'
import { handle } from '@libp2p/multistream-select'
import type { LengthPrefixedStreamOpts } from '@libp2p/utils'
import { decode } from 'uint8-varint'
import { asError, MusterError } from '../core/errors.ts'
import { deadline } from '../core/signals.ts'
import { FrameMeter } from './dht-guard.ts'
import * as limits from './limits.ts'

/** Bytes of the length of a multistream-select message, which is 1,024 bytes long at most. */
const LENGTH_BYTES = 2

/** We ask a peer who it is… */
const IDENTIFY = '/ipfs/id/1.0.0'
/** …or it says so unasked. */
const IDENTIFY_PUSH = '/ipfs/id/push/1.0.0'

/** The part of a connection that negotiates streams; the versions are pinned. */
interface Negotiating extends Omit<Connection, 'newStream'> {
  newStream: Connection['newStream']
  readonly onIncomingStream: (event: CustomEvent<Stream>) => Promise<void>
  readonly muxer: TypedEventTarget<{ stream: CustomEvent<Stream> }>
}

/**
 * How one negotiation reads its lengths: an option of multistream-select, which libp2p hands down to it with its own.
 * `lpStream` takes a RangeError for "more bytes to come" before it looks at any limit, and so reads an endless length to
 * its end, a byte at a time: 1 to 3 s of CPU for 4 MiB (T25). The third byte is another error. Messages are counted as well,
 * because each of them is answered.
 */
export function boundedLengths(): Pick<LengthPrefixedStreamOpts, 'lengthDecoder'> {
  let messages = 0
  return {
    lengthDecoder(prefix) {
      if (prefix.byteLength > LENGTH_BYTES) {
        throw new MusterError('protocol-violation', 'a negotiation with a length over two bytes')
      }
      const length = decode(prefix)
      messages++
      if (messages > limits.MAX_NEGOTIATION_MESSAGES) {
        throw new MusterError('protocol-violation', 'a negotiation that does not end')
      }
      return length
    }
  }
}

/**
 * Lets streams be negotiated with bounded lengths, in both directions, and meters what identify reads. All of it is done
 * with once a protocol is agreed: nothing of it stays on other streams.
 */
export function guardNegotiation(components: {
  readonly events: TypedEventTarget<{ 'connection:open': CustomEvent<Connection> }>
  readonly registrar: Pick<Registrar, 'getProtocols'>
}): void {
  components.events.addEventListener('connection:open', ({ detail }) => {
    guard(detail as unknown as Negotiating, components.registrar)
  })
}

function guard(connection: Negotiating, registrar: Pick<Registrar, 'getProtocols'>): void {
  const { newStream, onIncomingStream: serve, muxer } = connection
  connection.newStream = async (protocols, options) => {
    const stream = await newStream(protocols, { ...options, ...boundedLengths() })
    if (stream.protocol === IDENTIFY) meterIdentify(stream)
    return stream
  }
  const agree = async (event: CustomEvent<Stream>): Promise<void> => {
    const stream = event.detail
    using limit = deadline(limits.STREAM_NEGOTIATION_TIMEOUT_MS, 'negotiation of a protocol')
    try {
      const options = { signal: limit.signal, ...boundedLengths() }
      stream.protocol = await handle(stream, registrar.getProtocols(), options)
    } catch (thrown) {
      stream.abort(asError(thrown))
      return
    }
    if (stream.protocol === IDENTIFY_PUSH) meterIdentify(stream)
    // in the same turn, because it counts the streams that have this protocol; one that has a protocol is not negotiated
    void serve(event)
  }
  muxer.removeEventListener('stream', serve as never)
  muxer.addEventListener('stream', event => void agree(event))
}

/**
 * Resets the stream once it breaks a limit of identify's, before identify sees a byte of what does. The meter begins to
 * listen in the moment in which identify does: a stream keeps what it has read for whoever listens first.
 */
function meterIdentify(stream: Stream): void {
  const frames = new FrameMeter({
    maxFrameBytes: limits.MAX_IDENTIFY_FRAME_BYTES,
    maxFrames: limits.MAX_IDENTIFY_FRAMES_PER_STREAM
  })
  const onMessage = (event: StreamMessageEvent): void => {
    if (frames.push(event.data.subarray())) return
    event.stopImmediatePropagation()
    stream.abort(new MusterError('protocol-violation', 'a frame of identify over the limit'))
  }
  const listen = stream.addEventListener.bind(stream)
  stream.addEventListener = (...about: Parameters<typeof listen>) => {
    if (about[0] === 'message') {
      stream.addEventListener = listen
      listen('message', onMessage)
    }
    listen(...about)
  }
}
