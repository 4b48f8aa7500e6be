import type { Connection, Stream } from '@libp2p/interface'

/** The part of a connection's yamux that libp2p does not show; the versions are pinned. */
export interface Muxer {
  readonly status: string
  /** A stream that has not negotiated its protocol. */
  createStream(options: object): Promise<Stream>
  ping(): Promise<number>
  /** What it reads from: `message` comes with each piece that arrived. */
  readonly maConn: EventTarget
}

export function muxerOf(connection: Connection | undefined): Muxer | undefined {
  return (connection as unknown as { readonly muxer?: Muxer } | undefined)?.muxer
}

/** True while streams can be opened: when the other side hangs up, the muxer knows it before the socket does. */
export function isOpen(connection: Connection): boolean {
  return connection.status === 'open' && muxerOf(connection)?.status === 'open'
}
