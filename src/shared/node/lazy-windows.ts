import type { MultiaddrConnection, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { yamux } from '@libp2p/yamux'
import type { YamuxStream } from '@libp2p/yamux/stream'
import { withOverrides } from './overrides.ts'

/** The states of a yamux stream that are yet to say something else with a window update: SYN, ACK, or nothing at all. */
const [INIT, SYN_RECEIVED, PAUSED] = [0, 2, 5]

/** The part of yamux's muxer that makes streams; the versions are pinned. */
interface YamuxMuxer extends StreamMuxer {
  readonly maConn: MultiaddrConnection
  _newStream(...about: unknown[]): YamuxStream
}

/**
 * `yamux()`, quieter: a stream tells the other side that it has read once half of its window is used, as in Go, where
 * `@libp2p/yamux` answers each data frame: a message to encrypt and to write for every one received. And a stream
 * opened while the connection is full waits like the others, where it would fill a window of its own.
 */
export function lazyYamux(...init: Parameters<typeof yamux>): ReturnType<typeof yamux> {
  const make = yamux(...init)
  return () => {
    const factory = make()
    return withOverrides<ReturnType<typeof make>>(factory, {
      createStreamMuxer: ((connection: MultiaddrConnection) => {
        const muxer = factory.createStreamMuxer(connection as never) as unknown as YamuxMuxer
        const newStream = muxer._newStream.bind(muxer)
        muxer._newStream = (...about) => {
          const stream = newStream(...about)
          beLazy(stream)
          if (connection.writableNeedsDrain) stream.writableNeedsDrain = true
          return stream
        }
        return muxer
      }) as unknown as StreamMuxerFactory['createStreamMuxer'] as never
    })
  }
}

function beLazy(stream: YamuxStream): void {
  const window = stream as unknown as { readonly recvWindow: number; readonly recvWindowCapacity: number }
  const update = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    const hasMoreToSay = stream.state === INIT || stream.state === SYN_RECEIVED || stream.state === PAUSED
    const isHalfUsed = 2 * (window.recvWindow - window.recvWindowCapacity) >= window.recvWindow
    // who has said its last word needs no room; on a connection that is gone, saying so would throw
    if (hasMoreToSay || (isHalfUsed && stream.remoteWriteStatus !== 'closed')) update()
  }
}
