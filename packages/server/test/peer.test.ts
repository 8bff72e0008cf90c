import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { addressKey, rewriteHeaders, trustProxies } from '../src/peer.ts';
import { codeOf } from './temporary.ts';

function request(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
  return Object.assign(new IncomingMessage(socket), { headers });
}

describe('trustProxies', () => {
  const cases: [
    title: string,
    proxies: string[],
    remote: string,
    forwarded: string | undefined,
    expected: string,
  ][] = [
    ['A12: a stranger is not believed', ['10.0.0.1'], '192.0.2.1', '198.51.100.1', '192.0.2.1'],
    ['without proxies nobody is', [], '127.0.0.1', '198.51.100.1', '127.0.0.1'],
    ['a proxy is', ['10.0.0.1'], '10.0.0.1', '198.51.100.1', '198.51.100.1'],
    [
      'a network of proxies is',
      ['10.0.0.0/8', 'fd00::/8'],
      'fd00::1',
      '198.51.100.1, 10.2.3.4',
      '198.51.100.1',
    ],
    [
      'only the last hop that no proxy vouches for counts',
      ['10.0.0.1'],
      '10.0.0.1',
      '6.6.6.6, 198.51.100.1',
      '198.51.100.1',
    ],
    ['what is not an address is not believed', ['10.0.0.1'], '10.0.0.1', 'localhost', '10.0.0.1'],
    ['a proxy that names nobody stands for itself', ['10.0.0.1'], '10.0.0.1', undefined, '10.0.0.1'],
    [
      'an IPv4 address inside IPv6 is the IPv4 address',
      ['10.0.0.1'],
      '::ffff:10.0.0.1',
      '::ffff:198.51.100.1',
      '198.51.100.1',
    ],
    ['a proxy may name an IPv6 address', ['10.0.0.1'], '10.0.0.1', '2001:db8::1', '2001:db8::1'],
  ];
  for (const [title, proxies, remote, forwarded, expected] of cases) {
    test(`${title}`, () => {
      const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
      expect(trustProxies(proxies)(request(remote, headers))).toBe(expected);
    });
  }

  test('refuses what is not an address or a network', async () => {
    for (const proxy of [
      '',
      'proxy',
      '10.0.0.1/33',
      '0.0.0.0/0',
      '10.0.0.0/00',
      '::/0',
      '10.0.0.1/',
      '10.0.0.1/8/8',
      '::/129',
      '*',
      '10.0.0.1/-1',
    ]) {
      expect(await codeOf(() => trustProxies([proxy]))).toBe('configuration');
    }
  });
});

test('A12: rewriteHeaders leaves no header by which one could speak for another', () => {
  const message = request('192.0.2.1', {
    host: 'evil.example',
    accept: '*/*',
    forwarded: 'for=1.1.1.1',
    'x-forwarded-for': '1.1.1.1',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'gopher',
    'x-forwarded-client-cert': 'x',
    'x-client-cert-dn': 'x',
    'x-real-ip': '1.1.1.1',
    'x-http-method-override': 'DELETE',
    'x-method-override': 'DELETE',
    'x-original-url': '/admin',
    'x-rewrite-url': '/admin',
    'x-request-id': 'chosen',
  });
  rewriteHeaders(message, { id: 'id', ip: '192.0.2.1', publicUrl: new URL('https://ca.example.org') });
  expect(message.headers).toEqual({
    host: 'ca.example.org',
    accept: '*/*',
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-proto': 'https',
    'x-request-id': 'id',
  });
});

test('addressKey counts an IPv6 network of 64 bits as one', () => {
  expect(addressKey('192.0.2.1')).toBe('192.0.2.1');
  expect(addressKey('2001:db8::1')).toBe('2001:db8:0:0::/64');
  expect(addressKey('2001:0DB8:0000:0000:ffff::2')).toBe('2001:db8:0:0::/64');
  expect(addressKey('2001:db8:0:1::1')).toBe('2001:db8:0:1::/64');
  expect(addressKey('::1')).toBe('0:0:0:0::/64');
  expect(addressKey('fe80::1%eth0')).toBe('fe80:0:0:0::/64');
});
