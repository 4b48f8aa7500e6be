import { noise } from '@chainsafe/libp2p-noise'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { drainingPipe, type Pipe, type Receive, stackOf } from '../pipe.ts'

const PROTOCOL = '/bench/message/1.0.0'

const start = (listen: string[]) =>
  createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()]
  })

const pipeOf = (stream: Stream): Pipe =>
  drainingPipe(
    bytes => stream.send(bytes),
    then => stream.addEventListener('drain', then, { once: true })
  )

function read(stream: Stream, receive: Receive): void {
  stream.addEventListener('message', ({ data }) => receive(data.subarray()))
}

/** libp2p as it comes, with one stream that is kept open. */
export const stack = stackOf({
  keepsMessages: false,
  async listen(accept) {
    const node = await start(['/ip4/127.0.0.1/tcp/0'])
    await node.handle(PROTOCOL, stream => read(stream, accept(pipeOf(stream))))
    return String(node.getMultiaddrs()[0])
  },
  async dial(address, receive) {
    const node = await start([])
    const stream = await node.dialProtocol(multiaddr(address), PROTOCOL)
    read(stream, receive)
    return pipeOf(stream)
  }
})
