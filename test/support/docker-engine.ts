import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { environment, find, type Printed, type RunOptions, run } from './docker-command.ts'
import { eventually } from './eventually.ts'

/** A running Docker engine, and the Compose that goes with it. */
export interface Engine extends AsyncDisposable {
  /** True when it was started for this test: no image can be pulled, and nothing else runs there. */
  readonly isOwn: boolean
  /** A folder that is removed with the engine. */
  readonly folder: string
  readonly composeVersion: string
  docker(args: readonly string[], options?: RunOptions): Promise<Printed>
  compose(args: readonly string[], options?: RunOptions): Promise<Printed>
}

/** What a machine needs for an engine of our own. */
const PROGRAMS = ['dockerd', 'containerd', 'runc', 'debootstrap']

/**
 * The engine that `docker` finds, or one started by hand on its own socket and data root.
 * Resolves with the reason when there is neither.
 */
export async function openEngine(): Promise<Engine | string> {
  const docker = find('docker')
  if (docker === undefined) return 'there is no docker on this machine'
  const compose = await findCompose(docker)
  if (compose === undefined) return 'there is neither Compose v2 (docker compose) nor docker-compose on this machine'
  const isRunning = await answers(docker, environment)
  if (!isRunning) {
    const missing = PROGRAMS.filter(program => find(program) === undefined)
    if (missing.length > 0) return `no Docker engine runs, and to start one ${missing.join(', ')} are missing`
    if (process.getuid?.() !== 0) return 'no Docker engine runs, and only root may start one'
  }

  const scope = new Scope()
  try {
    // Sockets go in here, and their paths may not be longer than 107 bytes.
    const folder = await mkdtemp(join(tmpdir(), 'muster-docker-'))
    scope.defer(async () => {
      if (!isRunning) await unmountBelow(folder)
      await rm(folder, { recursive: true, force: true })
    })
    const env = isRunning ? environment : { ...environment, DOCKER_HOST: await startEngine(scope, docker, folder) }
    return {
      isOwn: !isRunning,
      folder,
      composeVersion: compose.version,
      docker: (args, options) => run(docker, args, { env, ...options }),
      compose: (args, options = {}) =>
        run(compose.command, [...compose.args, ...args], { ...options, env: { ...env, ...options.env } }),
      [Symbol.asyncDispose]: () => scope.close()
    }
  } catch (thrown) {
    await scope.close()
    throw thrown
  }
}

/** The engine leaves the mount of its own network namespace behind, and a folder with a mount in it cannot go. */
async function unmountBelow(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map(line => line.split(' ')[1] ?? '')
  for (const mount of mounts.filter(path => path.startsWith(`${folder}/`)).reverse()) {
    await run('umount', [mount], { env: environment })
  }
}

async function findCompose(docker: string): Promise<{ command: string; args: string[]; version: string } | undefined> {
  const candidates: Array<[string, string[]]> = [[docker, ['compose']]]
  const legacy = find('docker-compose')
  if (legacy !== undefined) candidates.push([legacy, []])
  for (const [command, args] of candidates) {
    try {
      const { stdout } = await run(command, [...args, 'version', '--short'], { env: environment })
      return { command, args, version: stdout.trim() }
    } catch {}
  }
  return undefined
}

async function answers(docker: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await run(docker, ['version', '--format', '{{.Server.Version}}'], { env, timeoutMs: 15_000 })
    return true
  } catch {
    return false
  }
}

/** Resolves with the address of its socket. */
async function startEngine(scope: Scope, docker: string, folder: string): Promise<string> {
  const host = `unix://${folder}/docker.sock`
  await mkdir(join(folder, 'data'), { recursive: true })
  const log = join(folder, 'dockerd.log')
  const output = openSync(log, 'w')
  const engine = spawn(
    find('dockerd')!,
    [
      ...['--host', host],
      ...['--data-root', join(folder, 'data')],
      ...['--exec-root', join(folder, 'exec')],
      ...['--pidfile', join(folder, 'dockerd.pid')],
      // Leave the machine's firewall and routes alone: containers reach each other over their bridge, published ports
      // go through the engine's proxy, and the build uses the network of the host.
      ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false']
    ],
    { env: environment, stdio: ['ignore', output, output] }
  )
  const ended = once(engine, 'exit')
  scope.defer(async () => {
    if (engine.exitCode !== null || engine.signalCode !== null) return
    engine.kill('SIGTERM')
    const giveUp = setTimeout(() => engine.kill('SIGKILL'), 60_000)
    await ended
    clearTimeout(giveUp)
  })
  const env = { ...environment, DOCKER_HOST: host }
  try {
    await eventually(
      'the engine answers',
      () => {
        if (engine.exitCode !== null) throw new Error(`dockerd ended with ${engine.exitCode}`)
        return answers(docker, env)
      },
      { withinMs: 60_000 }
    )
  } catch (thrown) {
    const lines = (await readFile(log, 'utf8')).trim().split('\n')
    throw new Error(`dockerd does not start:\n${lines.slice(-15).join('\n')}`, { cause: thrown })
  }
  return host
}
