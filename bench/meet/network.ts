import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Answer } from './host.ts'
import type { Place } from './link.ts'
import type { Stack } from './stacks/stack.ts'

const HOST = fileURLToPath(new URL('./host.ts', import.meta.url))

export type StackName = 'hyperswarm' | 'libp2p' | 'muster'

/**
 * 64 idle nodes of plain kad-dht take 60 % of a core. The others take a few and notice when they were stopped: their
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

type Remote = Stack & { readonly child: ChildProcess }

/** A process of the network. Its methods run there. */
async function spawnHost(stack: StackName, place: Place): Promise<Remote> {
  const [command, ...before] = place.command
  const child = spawn(command, [...before, HOST, stack], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced'
  })
  const waiting = new Map<number, (answer: Answer) => void>()
  let id = 0
  child.on('message', (answer: Answer) => {
    waiting.get(answer.id)?.(answer)
    waiting.delete(answer.id)
  })
  child.on('exit', code => {
    for (const [key, settle] of waiting) settle({ id: key, error: `the ${stack} host ended with ${code}` })
  })
  await new Promise<Answer>(resolve => waiting.set(0, resolve))
  const call = async (name: string, args: unknown[]): Promise<unknown> => {
    const key = ++id
    child.send({ id: key, name, args })
    const answer = await new Promise<Answer>(resolve => waiting.set(key, resolve))
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.value
  }
  const calls = new Proxy({} as Stack, {
    get: (_, name) => (name === 'then' ? undefined : (...args: unknown[]) => call(String(name), args))
  })
  return new Proxy(calls as Remote, { get: (stub, name) => (name === 'child' ? child : Reflect.get(stub, name)) })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
  if (child.connected) child.disconnect() // which ends it
  await gone
  clearTimeout(timer)
}

/** Builds the network of one stack: `size` DHT nodes over the places, the first of which knows the bootstrap. */
export async function openNetwork(stack: StackName, size: number, hosts: Place[], home: Place): Promise<Network> {
  const remotes: Remote[] = []
  try {
    remotes.push(...(await Promise.all(hosts.map(place => spawnHost(stack, place)))))
    const first = remotes[0] as Remote
    const bootstrap = await first.nodes(1, (hosts[0] as Place).host, undefined)
    const share = Math.ceil((size - 1) / hosts.length)
    let left = size - 1
    await Promise.all(
      remotes.map((remote, i) => {
        const count = Math.min(share, left)
        left -= count
        return count > 0 ? remote.nodes(count, (hosts[i] as Place).host, bootstrap) : undefined
      })
    )
    await Promise.all(remotes.map(remote => remote.settle()))
    const member = await spawnHost(stack, home)
    remotes.push(member)
    await member.member(home.host, bootstrap)
    const signal = (name: NodeJS.Signals): void => {
      if (!IDLES_EXPENSIVELY.has(stack)) return
      for (const remote of remotes) remote.child.kill(name)
    }
    return {
      bootstrap,
      async join(topic) {
        await member.join(topic)
        while (!(await first.lists(topic))) await delay(20)
      },
      leave: topic => member.leave(topic),
      freeze: () => signal('SIGSTOP'),
      thaw: () => signal('SIGCONT'),
      async [Symbol.asyncDispose]() {
        signal('SIGCONT')
        await Promise.all(remotes.map(remote => stop(remote.child)))
      }
    }
  } catch (thrown) {
    await Promise.all(remotes.map(remote => stop(remote.child)))
    throw thrown
  }
}
