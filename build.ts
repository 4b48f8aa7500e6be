import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire, isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'

/**
 * Makes the publishable `dist/`:
 *
 *     index.js            the library, bundled
 *     index.d.ts, …       its types, by tsc
 *     bin/                the commands: a small loader each, which old Node versions can read
 *     chunks/             what they load; rarely needed parts stay apart and are loaded on demand
 *     third-party.txt     what is bundled, with its licences
 *
 * Bundled because most of the time until a node listens goes into finding 600 small files: 198 ms as files,
 * 76 ms as a bundle, 62 ms with Node's compile cache (docs/performance.md).
 */
const ROOT = import.meta.dirname
const DIST = join(ROOT, 'dist')

/** Stay outside: native code, which lives in its own folder, and what is loaded only once somebody wants logs. */
const EXTERNAL = ['classic-level', 'pino']

/** The oldest Node that runs what is built: `await using` and type stripping came with it. */
const OLDEST_NODE = [24, 12] as const

const COMMANDS = {
  bootstrap: 'src/bootstrap/main.ts',
  peer: 'src/peer/main.ts'
} as const

/**
 * The first thing a command runs: says so when Node is too old to read the rest, switches the compile cache on, and
 * only then loads the rest. Only syntax and imports that Node 14 understands. The cache is in the user's own folder,
 * as where the source runs: what others could write to must not run as this user.
 */
function loader(command: string): string {
  const [major, minor] = OLDEST_NODE
  return `#!/usr/bin/env node
import * as nodeModule from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < ${major} || (major === ${major} && minor < ${minor})) {
  console.error('muster-${command} needs Node ${major}.${minor} or newer; this is ' + process.version + '. Get one at https://nodejs.org.')
  process.exit(1)
}
nodeModule.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'muster'))
await import('../chunks/${command}.js')
`
}

/** Packages in CommonJS that the code imports on demand. */
const COMMONJS_ON_DEMAND = /^prom-client$/

/** `await import()` of a CommonJS package has its names under Node; in a chunk of esbuild's it has `default` alone. */
const namedExports: Plugin = {
  name: 'named-exports',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: COMMONJS_ON_DEMAND }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, namespace: 'named-exports' } : undefined
    )
    onLoad({ filter: COMMONJS_ON_DEMAND, namespace: 'named-exports' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter(name => name !== 'default' && name !== 'module.exports')
      return { contents: `export { ${names.join(', ')} } from '${path}'`, resolveDir: ROOT }
    })
  }
}

/**
 * Node's own modules, taken without an ES module around them: making one reads every export, and reading `WebSocket`
 * of `node:http` loads all of undici, which costs ten times what `node:http` itself does.
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z:/_]+$/ }, ({ kind, path }) =>
      kind === 'import-statement' && isBuiltin(path) ? { path, namespace: 'builtin' } : undefined
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`
    }))
  }
}

/** A JSON file read by a path relative to its module goes into the bundle: modules are not where they were. */
const inlineJson: Plugin = {
  name: 'inline-json',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const contents = source.replaceAll(
        /createRequire\(import\.meta\.url\)\('(\.[^']+\.json)'\)/g,
        (_, relative) => `(${readFileSync(join(dirname(path), relative), 'utf8').trim()})`
      )
      return { contents, loader: 'ts' }
    })
  }
}

async function bundle(): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: {
      index: 'src/index.ts',
      ...Object.fromEntries(Object.entries(COMMANDS).map(([command, main]) => [`chunks/${command}`, main]))
    },
    outdir: DIST,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: `node${OLDEST_NODE.join('.')}`,
    // Names and lines stay, so that a stack trace can be read.
    minifySyntax: true,
    legalComments: 'none', // third-party.txt has the licences
    external: EXTERNAL,
    plugins: [lazyBuiltins, namedExports, inlineJson],
    // Some CommonJS inside asks for Node's own modules.
    banner: { js: "import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);" },
    metafile: true,
    logLevel: 'warning'
  })
  return metafile
}

function emitTypes(): void {
  const require = createRequire(import.meta.url)
  const manifest = require.resolve('typescript/package.json')
  const { bin } = require(manifest) as { bin: { tsc: string } }
  const tsc = join(dirname(manifest), bin.tsc)
  const { status } = spawnSync(process.execPath, [tsc, '--project', 'tsconfig.build.json'], {
    cwd: ROOT,
    stdio: 'inherit'
  })
  if (status !== 0) process.exit(1) // tsc has said why
}

/** Everybody whose code is in the bundle, with the licence text they ask to be passed on. */
async function thirdParty({ outputs }: Metafile): Promise<string> {
  const folders = new Set<string>()
  for (const output of Object.values(outputs)) {
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder)
    }
  }
  const sections: string[] = []
  for (const folder of [...folders].sort()) {
    const manifest = JSON.parse(await readFile(join(ROOT, folder, 'package.json'), 'utf8')) as Record<string, string>
    const files = (await readdir(join(ROOT, folder))).filter(file => /^(licen[cs]e|notice|copying)/i.test(file)).sort()
    const texts = await Promise.all(files.map(file => readFile(join(ROOT, folder, file), 'utf8')))
    sections.push([`${manifest.name} ${manifest.version} (${manifest.license})`, ...texts].join('\n\n').trim())
  }
  return `The bundle contains the work of others:\n\n${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

await rm(DIST, { recursive: true, force: true })
emitTypes()
const metafile = await bundle()
await mkdir(join(DIST, 'bin'), { recursive: true })
for (const command of Object.keys(COMMANDS)) {
  const path = join(DIST, 'bin', `${command}.js`)
  await writeFile(path, loader(command))
  await chmod(path, 0o755)
}
await writeFile(join(DIST, 'third-party.txt'), await thirdParty(metafile))
