import type * as Muster from '../../src/index.ts'

/** Room for the longest value of a run. */
const MAX_MESSAGE_BYTES = 268_435_456

/** What a version may not have yet. */
export interface Later {
  readonly ask?: (member: Muster.Member, value: Muster.Value, options: { timeoutMs: number }) => Promise<Muster.Message>
  readonly openStream?: Muster.Streams['openStream']
  readonly onStream?: Muster.Streams['onStream']
}
export type LaterMessage = Muster.Message & { readonly respond?: (value: Muster.Value) => unknown }

export type Group = Muster.Group & Later

const TOPIC = 'bench'

async function openPeer(muster: typeof Muster, bootstrap: string): Promise<Muster.Peer> {
  const options = { listen: '127.0.0.1:0', bootstrap: [bootstrap], memory: true }
  // A version that has no such option, or reads it otherwise, keeps its own limit.
  for (const maxMessageBytes of [String(MAX_MESSAGE_BYTES), `${MAX_MESSAGE_BYTES / 2 ** 20}MiB`]) {
    try {
      return await muster.createPeer({ ...options, maxMessageBytes } as Muster.PeerOptions)
    } catch (thrown) {
      if (!muster.isMusterError(thrown) || thrown.code !== 'options-invalid') throw thrown
    }
  }
  return await muster.createPeer(options)
}

/** The end that answers, with a bootstrap beside it. */
export async function openAnswering(entry: string): Promise<{ group: Group; address: string }> {
  const muster = (await import(entry)) as typeof Muster
  const bootstrap = await muster.createBootstrap({ listen: '127.0.0.1:0', memory: true, http: 'off' })
  const address = bootstrap.addresses[0] ?? ''
  const peer = await openPeer(muster, address)
  return { group: await peer.join(TOPIC), address }
}

/** The end that asks; resolves when it has met the other one. */
export async function openAsking(address: string, entry: string): Promise<{ group: Group; member: Muster.Member }> {
  const peer = await openPeer((await import(entry)) as typeof Muster, address)
  const group: Group = await peer.join(TOPIC)
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
