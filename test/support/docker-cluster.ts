import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import type { Status } from '../../src/shared/status/status.ts'
import type { RunOptions } from './docker-command.ts'
import type { Engine } from './docker-engine.ts'
import { eventually } from './eventually.ts'

export interface Container {
  readonly id: string
  readonly name: string
}

/** One JSON line of a container's standard output. */
export interface Line {
  readonly event: string
  readonly at: string
  readonly [field: string]: unknown
}

/** What `docker inspect` says, as far as it is of interest here. */
export interface Inspected {
  readonly State: {
    readonly Status: string
    readonly ExitCode: number
    readonly Health?: { readonly Status: string; readonly Log: ReadonlyArray<{ readonly Output: string }> | null }
  }
  readonly Config: { readonly User: string }
  readonly HostConfig: {
    readonly Privileged: boolean
    readonly ReadonlyRootfs: boolean
    readonly CapDrop: readonly string[] | null
    readonly SecurityOpt: readonly string[] | null
  }
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, ReadonlyArray<{ HostIp: string; HostPort: string }> | null>>
  }
  readonly Mounts: ReadonlyArray<{ readonly Type: string; readonly Name?: string; readonly Destination: string }>
}

/** The project's docker-compose.yml, running under a name and on host ports of its own. */
export interface Cluster extends AsyncDisposable {
  /** `up -d`, with more arguments; containers that run already stay. */
  up(...args: string[]): Promise<void>
  /** `down -v`: containers, networks and volumes go. */
  down(): Promise<void>
  containers(service: 'bootstrap' | 'peer'): Promise<Container[]>
  /** Containers, networks and volumes of this cluster that exist. */
  leftovers(): Promise<string[]>
  inspect(container: Container): Promise<Inspected>
  /** SIGKILL. Docker takes that for the user's wish: the restart policy does not bring the container back. */
  kill(container: Container): Promise<void>
  start(container: Container): Promise<void>
  /** SIGTERM, and SIGKILL ten seconds later. */
  stop(container: Container): Promise<void>
  /** Freezes its processes. */
  pause(container: Container): Promise<void>
  unpause(container: Container): Promise<void>
  /** Runs a command in a container that runs; resolves with its standard output, rejects when it fails. */
  exec(container: Container, ...command: string[]): Promise<string>
  /** Everything a container printed on standard output, over all its lives. Fails if a line is not JSON. */
  lines(container: Container): Promise<Line[]>
  /** The bootstrap's, asked from the host. */
  status(): Promise<Status>
  eventually(sentence: string, holds: () => Promise<void>, withinMs?: number): Promise<void>
  /** The last lines of every container, for a failure. */
  story(): Promise<string>
}

/** @param image what both services run; it exists already. */
export async function createCluster(engine: Engine, folder: string, image: string): Promise<Cluster> {
  const scope = new Scope()
  const project = `muster-test-${randomBytes(4).toString('hex')}`
  const label = `label=com.docker.compose.project=${project}`
  const [port, httpPort] = await freePorts()
  const env = { MUSTER_IMAGE: image, MUSTER_PORT: String(port), MUSTER_HTTP_PORT: String(httpPort) }
  const volumes = new Set<string>()
  let isUp = false
  const ids = (stdout: string): string[] => stdout.split('\n').filter(line => line !== '')

  const compose = async (args: readonly string[], options: RunOptions = {}): Promise<void> => {
    await engine.compose(['-p', project, ...args], { cwd: folder, timeoutMs: 300_000, ...options, env })
  }
  const inspectAll = async (names: readonly string[]): Promise<Inspected[]> =>
    names.length === 0 ? [] : JSON.parse((await engine.docker(['inspect', ...names])).stdout)

  const cluster: Cluster = {
    async up(...args) {
      isUp = true
      await compose(['up', '-d', '--no-build', '--no-recreate', ...args])
    },
    async down() {
      isUp = false
      const { stdout } = await engine.docker(['ps', '-aq', '--filter', label])
      // Volumes without a name carry no label.
      for (const { Mounts } of await inspectAll(ids(stdout))) {
        for (const { Name } of Mounts) if (Name !== undefined) volumes.add(Name)
      }
      await compose(['down', '-v', '-t', '10'])
    },
    async containers(service) {
      const filters = ['--filter', label, '--filter', `label=com.docker.compose.service=${service}`]
      const { stdout } = await engine.docker(['ps', '-a', ...filters, '--format', '{{.ID}} {{.Names}}'])
      return ids(stdout)
        .map(line => line.split(' '))
        .map(([id = '', name = '']) => ({ id, name }))
        .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    },
    async leftovers() {
      const lists = await Promise.all([
        engine.docker(['ps', '-aq', '--filter', label]),
        engine.docker(['network', 'ls', '-q', '--filter', label]),
        engine.docker(['volume', 'ls', '-q', '--filter', label])
      ])
      const all = ids((await engine.docker(['volume', 'ls', '-q'])).stdout)
      return [...lists.flatMap(({ stdout }) => ids(stdout)), ...all.filter(name => volumes.has(name))]
    },
    async inspect({ id }) {
      const [found] = await inspectAll([id])
      assert(found !== undefined)
      return found
    },
    async kill({ id }) {
      await engine.docker(['kill', '--signal', 'KILL', id])
      await engine.docker(['wait', id])
    },
    async start({ id }) {
      await engine.docker(['start', id])
    },
    async stop({ id }) {
      await engine.docker(['stop', '--time', '10', id])
    },
    async pause({ id }) {
      await engine.docker(['pause', id])
    },
    async unpause({ id }) {
      await engine.docker(['unpause', id])
    },
    async exec({ id }, ...command) {
      return (await engine.docker(['exec', id, ...command])).stdout
    },
    async lines({ id }) {
      const { stdout } = await engine.docker(['logs', id])
      return ids(stdout).map(line => JSON.parse(line) as Line)
    },
    async status() {
      const response = await fetch(`http://127.0.0.1:${httpPort}/status`, { signal: AbortSignal.timeout(5_000) })
      assert.equal(response.status, 200)
      return (await response.json()) as Status
    },
    eventually(sentence, holds, withinMs = 90_000) {
      const spaced = async (): Promise<void> => {
        try {
          await holds()
        } catch (thrown) {
          // Each question is several processes, and the machine has the cluster to run.
          await delay(700)
          throw thrown
        }
      }
      return eventually(sentence, spaced, { withinMs })
    },
    async story() {
      const all = [...(await cluster.containers('bootstrap')), ...(await cluster.containers('peer'))]
      const parts = all.map(async container => {
        const { State } = await cluster.inspect(container)
        const { stdout, stderr } = await engine.docker(['logs', '--tail', '40', container.id])
        return `--- ${container.name} ${JSON.stringify(State)}\n${stdout}${stderr}`
      })
      return (await Promise.all(parts)).join('\n')
    },
    [Symbol.asyncDispose]: () => scope.close()
  }
  scope.defer(() => (isUp ? cluster.down() : undefined))
  return cluster
}

/** Two ports nobody listens on. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()]
  const ports = await Promise.all(
    servers.map(
      server =>
        new Promise<number>((resolve, reject) => {
          server.on('error', reject)
          server.listen(0, () => resolve((server.address() as { port: number }).port))
        })
    )
  )
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return [ports[0]!, ports[1]!]
}
