import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Place } from '../common/link.ts'
import { type Remote, spawnRemote, stopRemote } from '../common/remote.ts'
import type { Stack } from './stacks/stack.ts'

export type StackName = 'hyperswarm' | 'libp2p' | 'muster'

/** Longest wait until others can find the member under a topic. */
const LISTED_MS = 30_000

/**
 * 64 idle nodes of plain kad-dht take 10 % of a core, also with what they do by the clock switched off. The others take a few and notice when they were stopped: their
 * connections look dead to them afterwards.
 */
const IDLES_EXPENSIVELY: ReadonlySet<StackName> = new Set(['libp2p'])

/** One stack's network: DHT nodes over several processes, and a member in a process of its own. */
export interface Network extends AsyncDisposable {
  readonly bootstrap: string
  join(topic: string): Promise<void>
  leave(topic: string): Promise<void>
  /** Stops all its processes where they are, if they would take much from another network's trial. */
  freeze(): void
  thaw(): void
}

/** A process of the network. */
async function spawnHost(stack: StackName, { command }: Place): Promise<Remote<Stack>> {
  return await spawnRemote<Stack>(fileURLToPath(new URL(`./stacks/${stack}.ts`, import.meta.url)), { command })
}

/** Builds the network of one stack: `size` DHT nodes over the places, the first of which knows the bootstrap. */
export async function openNetwork(stack: StackName, size: number, hosts: Place[], home: Place): Promise<Network> {
  const remotes: Remote<Stack>[] = []
  try {
    remotes.push(...(await Promise.all(hosts.map(place => spawnHost(stack, place)))))
    const first = remotes[0] as Remote<Stack>
    const bootstrap = await first.stack.nodes(1, (hosts[0] as Place).host, undefined)
    const share = Math.ceil((size - 1) / hosts.length)
    let left = size - 1
    await Promise.all(
      remotes.map((remote, i) => {
        const count = Math.min(share, left)
        left -= count
        return count > 0 ? remote.stack.nodes(count, (hosts[i] as Place).host, bootstrap) : undefined
      })
    )
    await Promise.all(remotes.map(remote => remote.stack.settle()))
    const member = await spawnHost(stack, home)
    remotes.push(member)
    await member.stack.member(home.host, bootstrap)
    const signal = (name: NodeJS.Signals): void => {
      if (!IDLES_EXPENSIVELY.has(stack)) return
      for (const remote of remotes) remote.child.kill(name)
    }
    return {
      bootstrap,
      async join(topic) {
        await member.stack.join(topic)
        const latest = performance.now() + LISTED_MS
        while (!(await first.stack.lists(topic))) {
          if (performance.now() > latest) throw new Error(`nobody in the ${stack} network finds the member`)
          await delay(20)
        }
      },
      leave: topic => member.stack.leave(topic),
      freeze: () => signal('SIGSTOP'),
      thaw: () => signal('SIGCONT'),
      async [Symbol.asyncDispose]() {
        signal('SIGCONT')
        await Promise.all(remotes.map(remote => stopRemote(remote)))
      }
    }
  } catch (thrown) {
    await Promise.all(remotes.map(remote => stopRemote(remote)))
    throw thrown
  }
}
