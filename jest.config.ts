import type { Config } from 'jest';

/** Sources run as ES modules through swc; `@beacon/source` makes a workspace's import reach its `src/`, so no build is needed. */
const everywhere = {
  rootDir: '.',
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@beacon/source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  modulePathIgnorePatterns: ['<rootDir>/packages/.*/dist'],
} satisfies Config;

const config: Config = {
  projects: [
    {
      ...everywhere,
      displayName: 'unit',
      testMatch: [
        '<rootDir>/packages/*/test/**/*.test.ts',
        '<rootDir>/infra/github-standin/test/**/*.test.ts',
        '<rootDir>/scripts/*.test.ts',
      ],
    },
    { ...everywhere, displayName: 'e2e', testMatch: ['<rootDir>/infra/e2e/**/*.test.ts'] },
  ],
  // The longest takes half of a minute on a quiet machine, unless it says so itself, and several times that on a busy one.
  testTimeout: 180_000,
};

export default config;
