import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chosen, machine, numbers, printer, wrong } from './common/command.ts'
import { LinkUnavailable, openLink, type Place } from './common/link.ts'
import { type Network, openNetwork, type StackName } from './meet/network.ts'
import { CONTESTANTS, type Contestant, runNewcomer, type Trial } from './meet/newcomer.ts'
import { markdownOf, type Run, summarise, tableOf } from './meet/summary.ts'

/** How long until a newcomer has its first receipt? See README.md beside this file. */
const HELP = `node bench/meet.ts [flags]
  --nodes 16,64         DHT nodes; one run for each
  --rtt 0,20            artificial round trip in milliseconds; more than 0 needs Linux, root and python3
  --rounds 7            rounds; each runs every contestant once, in alternating order
  --processes 4         processes the DHT nodes are spread over
  --only a,b            contestants: ${CONTESTANTS.map(contestant => contestant.name).join(', ')}
  --baseline hyperswarm what the ratios are against
  --compile-cache       give every newcomer Node's compile cache, filled by the warm-up round
  --markdown            tables as in docs/performance.md
  --json                one JSON document on standard output; the tables go to standard error`

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '16,64' },
    rtt: { type: 'string', default: '0,20' },
    rounds: { type: 'string', default: '7' },
    processes: { type: 'string', default: '4' },
    only: { type: 'string' },
    baseline: { type: 'string', default: 'hyperswarm' },
    'compile-cache': { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  }
})
if (flags.help) {
  console.log(HELP)
  process.exit(0)
}

const rounds = Number(flags.rounds)
const processes = Number(flags.processes)
if (![rounds, processes, ...numbers(flags.nodes)].every(each => each >= 1)) {
  wrong('--rounds, --processes and --nodes are 1 or more')
}
if (!numbers(flags.rtt).every(each => each >= 0)) wrong('--rtt: milliseconds, 0 or more')

const say = printer(flags.json)

const wanted = flags.only === undefined ? CONTESTANTS : chosen(CONTESTANTS, flags.only.split(','))
const contestants = wanted.filter(({ name, script, job }) => {
  const missing = [script, job?.entry].find(path => typeof path === 'string' && !existsSync(fileOf(path)))
  if (missing !== undefined) say(`left out: ${name}, as ${fileOf(String(missing))} does not exist`)
  return missing === undefined
})

function fileOf(path: string): string {
  return path.startsWith('file:') ? new URL(path).pathname : path
}

/** What a network has to catch up with after a while of standing still is not the newcomer's fault. */
const REST_MS = 500

/** Brings the networks up and sends newcomers into them, a warm-up round and then `rounds` that count. */
async function measure(nodes: number, rttMs: number, cache: string | undefined): Promise<Run> {
  await using link = await openLink(processes + 2, rttMs)
  const [home, door, ...hosts] = link.places as [Place, Place, ...Place[]]
  await using opened = new AsyncDisposableStack()
  const networks = new Map<StackName, Network>()
  for (const name of new Set(contestants.map(contestant => contestant.network))) {
    const network = opened.use(await openNetwork(name, nodes, hosts, home))
    networks.set(name, network)
    network.freeze()
  }

  const trial = async (contestant: Contestant): Promise<Trial | undefined> => {
    const network = networks.get(contestant.network) as Network
    // A topic of its own each time: nothing that an earlier newcomer left behind can be found.
    const topic = createHash('sha256').update(randomBytes(32)).digest('hex')
    network.thaw()
    await network.join(topic)
    await delay(REST_MS)
    try {
      return await runNewcomer(contestant, { host: door.host, bootstrap: network.bootstrap, topic }, door, { cache })
    } finally {
      await network.leave(topic)
      network.freeze()
    }
  }

  const trials: Run['trials'] = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const result = await trial(contestant)
      if (round >= 0) trials[contestant.name]?.push(result) // the first round only warms files and caches up
    }
  }
  return { nodes, rttMs, trials }
}

const cacheFolder = flags['compile-cache'] ? await mkdtemp(join(tmpdir(), 'meet-cache-')) : undefined
const runs: Run[] = []
try {
  for (const rttMs of numbers(flags.rtt)) {
    for (const nodes of numbers(flags.nodes)) {
      try {
        const run = await measure(nodes, rttMs, cacheFolder)
        runs.push(run)
        const summaries = summarise(run, flags.baseline)
        if (flags.markdown) say(`\n${markdownOf(run, summaries)}`)
        else {
          say(`\n${nodes} DHT nodes in ${processes} processes, ${rttMs} ms round trip, ${rounds} rounds.`)
          say(`Medians in ms; × is the median of the per-round ratios to ${flags.baseline}.\n`)
          say(tableOf(summaries))
        }
      } catch (thrown) {
        const isExpected = thrown instanceof LinkUnavailable
        if (!isExpected) process.exitCode = 1
        say(`skipped ${rttMs} ms with ${nodes} nodes: ${isExpected ? thrown.message : (thrown as Error).stack}`)
      }
    }
  }
} finally {
  if (cacheFolder !== undefined) await rm(cacheFolder, { recursive: true, force: true })
}
if (flags.json) {
  const settings = { rounds, processes, baseline: flags.baseline, compileCache: flags['compile-cache'] }
  const results = runs.map(run => ({ ...run, summary: summarise(run, flags.baseline) }))
  console.log(JSON.stringify({ machine: machine(), settings, runs: results }, undefined, 2))
}
