import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Place } from '../common/link.ts'
import type { StackName } from './network.ts'

/** What a newcomer reports, in milliseconds from just before its process was spawned. */
export interface Marks {
  /** The first line of its script runs. */
  readonly start?: number
  readonly import?: number
  /** Its socket is bound. */
  readonly listen?: number
  /** The network answered. */
  readonly bootstrap?: number
  /** It knows of a member. */
  readonly find?: number
  /** An encrypted connection to the member is open. */
  readonly connect?: number
  /** The member's receipt is here. */
  readonly message?: number
}

export interface Trial {
  readonly marks: Marks
  readonly cpuMs?: number
  readonly rssBytes?: number
}

/** One line of the result: a stack, and how its newcomer is run. */
export interface Contestant {
  readonly name: string
  readonly network: StackName
  /** What is measured, in a few words. */
  readonly about: string
  /** The newcomer's script, and what it is told besides the job; or the arguments of the real command. */
  readonly script: string
  readonly job?: Readonly<Record<string, unknown>>
  readonly argv?: (job: Job) => string[]
}

export interface Job {
  readonly host: string
  readonly bootstrap: string
  readonly topic: string
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const there = (path: string) => new URL(path, import.meta.url).href

/** From what others offer to what Muster offers. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    name: 'hyperswarm',
    network: 'hyperswarm',
    about: 'new Hyperswarm({ bootstrap })',
    script: here('./newcomers/hyperswarm.js')
  },
  {
    name: 'hyperswarm-open',
    network: 'hyperswarm',
    about: 'the same, told that no firewall is in the way',
    script: here('./newcomers/hyperswarm.js'),
    job: { open: true }
  },
  {
    name: 'libp2p',
    network: 'libp2p',
    about: 'createLibp2p + kadDHT, defaults',
    script: here('./newcomers/libp2p.js')
  },
  {
    name: 'libp2p-tuned',
    network: 'libp2p',
    about: 'the same, allowQueryWithZeroPeers, self-query after 1 ms',
    script: here('./newcomers/libp2p.js'),
    job: { tuned: true }
  },
  {
    name: 'muster-source',
    network: 'muster',
    about: 'createPeer from src/ (types stripped at run time)',
    script: here('./newcomers/muster.js'),
    job: { entry: there('../../src/index.ts') }
  },
  {
    name: 'muster',
    network: 'muster',
    about: 'createPeer from dist/ (npm run build)',
    script: here('./newcomers/muster.js'),
    job: { entry: there('../../dist/index.js') }
  },
  {
    name: 'muster-peer',
    network: 'muster',
    about: 'the command muster-peer --json from dist/',
    script: here('../../dist/bin/peer.js'),
    argv: job => [
      ...['--json', '--listen', `${job.host}:0`, '--bootstrap', job.bootstrap, '--topic', job.topic, '--memory']
    ]
  }
]

/** Runs one newcomer to its first receipt. Resolves with undefined when there is none within the time. */
export async function runNewcomer(
  contestant: Contestant,
  job: Job,
  place: Place,
  { cache, timeoutMs = 20_000 }: { cache: string | undefined; timeoutMs?: number }
): Promise<Trial | undefined> {
  const [command, ...before] = place.command
  const { NODE_COMPILE_CACHE: _, ...env } = process.env
  if (cache !== undefined) env.NODE_COMPILE_CACHE = cache
  const origin = process.hrtime.bigint()
  const since = () => Number(process.hrtime.bigint() - origin) / 1e6
  const args = contestant.argv?.(job) ?? [
    JSON.stringify({ ...job, ...contestant.job, origin: String(origin) }, undefined, 0)
  ]
  const child = spawn(command, [...before, contestant.script, ...args], {
    env,
    stdio: [contestant.argv === undefined ? 'ignore' : 'pipe', 'pipe', process.env.MEET_VERBOSE ? 'inherit' : 'ignore']
  })
  const result = Promise.withResolvers<Trial | undefined>()
  const gone = Promise.withResolvers<void>()
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  let text = ''
  const seen: Record<string, number> = {}
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const at = since()
    text += chunk
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      if (contestant.argv === undefined) result.resolve(JSON.parse(line) as Trial)
      else {
        const mark = EVENT_MARKS[(JSON.parse(line) as { event: string }).event]
        if (mark === undefined) continue
        seen[mark] ??= at
        if (mark !== 'message') continue
        if (seen.find !== undefined) seen.connect ??= seen.find
        result.resolve({ marks: seen })
        child.kill('SIGTERM')
      }
    }
  })
  child.on('error', error => {
    process.stderr.write(`${contestant.name}: ${error.message}\n`)
    gone.resolve()
  })
  child.on('close', () => gone.resolve())
  await gone.promise
  clearTimeout(timer)
  result.resolve(undefined)
  return result.promise
}

/** Lines of the real command say when things were done; they are timed as they arrive here. */
const EVENT_MARKS: Readonly<Record<string, keyof Marks>> = {
  listening: 'listen',
  member: 'find',
  sent: 'message'
}
