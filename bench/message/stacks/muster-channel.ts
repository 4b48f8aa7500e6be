import { createIdentity } from '../../../src/shared/node/keys.ts'
import { createLibp2pNode } from '../../../src/shared/node/libp2p.server.ts'
import type { Channel } from '../../../src/shared/node/port.ts'
import { memoryStore } from '../../../src/shared/store/memory.ts'
import { type Pipe, type Receive, stackOf } from '../pipe.ts'

const PROTOCOL = 'bench/1.0.0'
const MAX_FRAME_BYTES = 1_048_576

const start = async () =>
  await createLibp2pNode({
    identity: await createIdentity(),
    network: 'bench',
    preset: 'private',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    store: memoryStore(),
    mayBeAlone: true
  })

const pipeOf = (channel: Channel): Pipe => ({ send: bytes => channel.send(bytes) })

async function read(channel: Channel, receive: Receive): Promise<void> {
  for await (const frame of channel.frames) receive(frame)
}

/** Muster's Node port alone: what the messages on top of it cost is the rest. */
export const stack = stackOf({
  keepsMessages: true,
  async listen(accept) {
    const node = await start()
    node.handle(PROTOCOL, { maxFrameBytes: MAX_FRAME_BYTES, maxInboundPerConnection: 1 }, async channel => {
      await read(channel, accept(pipeOf(channel)))
    })
    return JSON.stringify({ peerId: node.peerId, addresses: node.addresses })
  },
  async dial(address, receive) {
    const node = await start()
    const peerId = await node.connect(JSON.parse(address))
    const channel = await node.open(peerId, PROTOCOL, { maxFrameBytes: MAX_FRAME_BYTES })
    void read(channel, receive)
    return pipeOf(channel)
  }
})
