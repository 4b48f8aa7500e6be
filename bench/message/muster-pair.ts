import type * as Muster from '../../src/index.ts'

/** Room for the longest value of a run. */
const MAX_MESSAGE_BYTES = 268_435_456

const TOPIC = 'bench'

function openPeer(muster: typeof Muster, bootstrap: string): Promise<Muster.Peer> {
  return muster.createPeer({
    listen: '127.0.0.1:0',
    bootstrap: [bootstrap],
    memory: true,
    maxMessageBytes: MAX_MESSAGE_BYTES
  })
}

/** The end that answers, with a bootstrap beside it. */
export async function openAnswering(entry: string): Promise<{ group: Muster.Group; address: string }> {
  const muster = (await import(entry)) as typeof Muster
  const bootstrap = await muster.createBootstrap({ listen: '127.0.0.1:0', memory: true, http: 'off' })
  const address = bootstrap.addresses[0] ?? ''
  const peer = await openPeer(muster, address)
  return { group: await peer.join(TOPIC), address }
}

/** The end that asks; resolves when it has met the other one. */
export async function openAsking(
  address: string,
  entry: string
): Promise<{ group: Muster.Group; member: Muster.Member }> {
  const peer = await openPeer((await import(entry)) as typeof Muster, address)
  const group = await peer.join(TOPIC)
  const met = Promise.withResolvers<Muster.Member>()
  group.on('member', member => met.resolve(member))
  for (const member of group.members()) met.resolve(member)
  return { group, member: await met.promise }
}

/** Does something `count` times, at most `window` at once. Rejects with the first failure. */
export async function windowed(
  count: number,
  window: number,
  act: (number: number) => Promise<unknown>
): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await act(next++)
  }
  await Promise.all(Array.from({ length: Math.min(window, count) }, worker))
}
