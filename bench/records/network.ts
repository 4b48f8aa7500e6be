import { fileURLToPath } from 'node:url'
import type { Place } from '../common/link.ts'
import { type Remote, spawnRemote, stopRemote } from '../common/remote.ts'
import type { StackName } from './contestants.ts'
import type { Stack } from './stacks/stack.ts'

/** What a full table has at least: Kademlia's k, in all three stacks. */
const K = 20
/** Longest wait for the routing tables to be full. */
const SETTLE_MS = 120_000
/** They are when another look-up of every node adds less than this part to them. */
const STILL = 0.05

/**
 * 64 idle nodes of plain kad-dht take 10 % of a core, also with what they do by the clock switched off. The others take
 * a few and notice when they were stopped: their connections look dead to them afterwards.
 */
const IDLES_EXPENSIVELY: ReadonlySet<StackName> = new Set(['kad-dht'])

/** How many others the nodes know. */
export interface Tables {
  readonly min: number
  readonly mean: number
  /** They were as full as they can be, and did not change any more. */
  readonly isSettled: boolean
}

/** One stack's network: nodes over several processes, and one in a process of its own, which is measured. */
export interface Network<T extends Stack = Stack> extends AsyncDisposable {
  readonly hosts: readonly T[]
  readonly measured: T
  readonly tables: Tables
  /** Stops all its processes where they are, if they would take much from another network's trial. */
  freeze(): void
  thaw(): void
}

/** Builds the network of one stack: `size` nodes, the measured one included. */
export async function openNetwork<T extends Stack = Stack>(
  stack: StackName,
  size: number,
  places: readonly Place[],
  home: Place
): Promise<Network<T>> {
  const module = fileURLToPath(new URL(`./stacks/${stack}.ts`, import.meta.url))
  const remotes: Remote<T>[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(remotes.map(stopRemote))
  }
  try {
    remotes.push(...(await Promise.all([...places, home].map(({ command }) => spawnRemote<T>(module, { command })))))
    const measured = (remotes.at(-1) as Remote<T>).stack
    const hosts = remotes.slice(0, -1).map(remote => remote.stack)
    const bootstrap = await (hosts[0] as T).nodes(1, (places[0] as Place).host, undefined)
    // One after the other in each process, and not all processes at once: whoever comes first finds somebody there.
    const others = size - 2
    const share = Math.floor(others / hosts.length)
    for (const [i, host] of hosts.entries()) {
      const count = share + (i < others % hosts.length ? 1 : 0)
      if (count > 0) await host.nodes(count, (places[i] as Place).host, bootstrap)
    }
    await measured.nodes(1, home.host, bootstrap)
    const all = [...hosts, measured]
    const tables = await settledTables(all, size)
    const signal = (name: NodeJS.Signals): void => {
      if (!IDLES_EXPENSIVELY.has(stack)) return
      for (const remote of remotes) remote.child.kill(name)
    }
    return {
      hosts,
      measured,
      tables,
      freeze: () => signal('SIGSTOP'),
      thaw: () => signal('SIGCONT'),
      async [Symbol.asyncDispose]() {
        signal('SIGCONT')
        await stop()
      }
    }
  } catch (thrown) {
    await stop()
    throw thrown
  }
}

/** Lets every node look around until each knows k others, or everybody, and hardly learns of anybody more. Bounded. */
async function settledTables(stacks: readonly Stack[], size: number): Promise<Tables> {
  const latest = performance.now() + SETTLE_MS
  // HyperDHT's first node is in nobody's table.
  const least = Math.min(K, size - 2)
  let before = 0
  for (;;) {
    await Promise.all(stacks.map(stack => stack.settle()))
    const sizes = (await Promise.all(stacks.map(stack => stack.tables()))).flat()
    const min = Math.min(...sizes)
    const all = sizes.reduce((sum, each) => sum + each, 0)
    const isSettled = min >= least && all - before <= all * STILL
    if (isSettled || performance.now() > latest) return { min, mean: all / sizes.length, isSettled }
    before = all
  }
}
