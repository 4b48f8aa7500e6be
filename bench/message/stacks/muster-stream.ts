import type { ByteStream } from '../../../src/index.ts'
import { openAnswering, openAsking } from '../muster-pair.ts'
import { type Pipe, type Receive, stackOf } from '../pipe.ts'

const NAME = 'bench'

const pipeOf = (stream: ByteStream): Pipe => ({ send: bytes => stream.write(bytes) })

async function read(stream: ByteStream, receive: Receive): Promise<void> {
  for await (const piece of stream) receive(piece)
}

/** A raw stream to a member: no receipts, no values. */
export const stack = stackOf({
  keepsMessages: false,
  async listen(accept, entry) {
    const { group, address } = await openAnswering(entry)
    group.onStream(NAME, async stream => await read(stream, accept(pipeOf(stream))))
    return address
  },
  async dial(address, receive, entry) {
    const { group, member } = await openAsking(address, entry)
    const stream = await group.openStream(member, NAME)
    void read(stream, receive)
    return pipeOf(stream)
  }
})
