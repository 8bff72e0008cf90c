/** What one change would have made of a denial, in words (`missing` of the API). */

export function formatMissing(one: Readonly<Record<string, unknown>>): string {
  const text = (name: string) => String(one[name] ?? '');
  switch (one['kind']) {
    case 'lifetime':
      return `a shorter lifetime, at most ${text('longest_seconds')} s`;
    case 'team':
      return `membership in the team ${text('id')}`;
    case 'organization':
      return `membership in the organisation ${text('id')}`;
    case 'login':
      return `the login ${text('login')} instead`;
    case 'service':
      return `to ask through the service ${text('service')}`;
    case 'sso':
      return `a sign-in to the SSO of ${text('name') || text('organization')}, then beacon login again (${text('why')})`;
    case 'unknown':
      return `the CA to know whether you belong to the ${text('of')} ${text('id')} (${text('why')}): beacon login again`;
    default:
      return JSON.stringify(one);
  }
}
