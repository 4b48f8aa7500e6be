import { copyFile, cp, mkdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { environment, find, run } from './docker-command.ts'
import type { Engine } from './docker-engine.ts'

const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Makes what the Dockerfile starts from out of what this machine has, under the same name: Debian by debootstrap, the
 * Node binary that runs this, npm, the certificates this machine trusts and the registry it uses. The image stays in
 * the engine of the test.
 * @param name e.g. `node:26.10.0-bookworm-slim`.
 */
export async function makeBaseImage(engine: Engine, name: string): Promise<void> {
  const [, version, suite] = /:(\d+\.\d+\.\d+)-(\w+)-slim$/.exec(name) ?? []
  if (suite === undefined) throw new Error(`${name} does not say which Debian it is`)
  if (process.versions.node !== version) {
    throw new Error(`${name} is Node ${version}, but this runs on ${process.versions.node}`)
  }
  const root = join(engine.folder, 'base')
  // libatomic1 is the one library that Node needs and the smallest Debian lacks; the official image adds it too.
  await run(find('debootstrap')!, ['--variant=minbase', '--include=libatomic1', suite, root], {
    env: environment,
    timeoutMs: 600_000
  })
  await addNode(root)
  const tar = join(engine.folder, 'base.tar')
  await run('tar', ['-C', root, '--exclude=./var/cache/apt', '--exclude=./var/lib/apt/lists', '-cf', tar, '.'])
  await engine.docker(['import', tar, name], { timeoutMs: 300_000 })
  await Promise.all([rm(root, { recursive: true }), rm(tar)])
}

async function addNode(root: string): Promise<void> {
  const local = join(root, 'usr/local')
  await copyFile(await realpath(process.execPath), join(local, 'bin/node'))
  const script = process.env.npm_execpath ?? find('npm')
  if (script === undefined) throw new Error('there is no npm on this machine')
  const npm = dirname(dirname(await realpath(script)))
  const modules = join(local, 'lib/node_modules')
  await mkdir(modules, { recursive: true })
  await cp(npm, join(modules, 'npm'), { recursive: true, dereference: true })
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'))

  const bundle = process.env.NODE_EXTRA_CA_CERTS ?? process.env.SSL_CERT_FILE ?? CA_BUNDLE
  await mkdir(join(root, dirname(CA_BUNDLE)), { recursive: true })
  await copyFile(bundle, join(root, CA_BUNDLE))
  const { stdout: registry } = await run(process.execPath, [script, 'config', 'get', 'registry'])
  await mkdir(join(local, 'etc'), { recursive: true })
  await writeFile(join(local, 'etc/npmrc'), `registry=${registry.trim()}\ncafile=${CA_BUNDLE}\n`)
}
