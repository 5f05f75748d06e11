import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Json } from '../expand/functions.ts';
import { buildForm } from '../form/form.ts';
import { templateParameters } from '../template/parameters.ts';
import { buildTemplate } from '../template/template.ts';
import { complaintsAbout, inspectForm, parametersFrom, shownFields } from './inspect-form.ts';
import { inspectTemplate } from './inspect-template.ts';
import { testRelease } from './scenarios.ts';

const form = buildForm();
const template = buildTemplate();

type Entered = Record<string, Record<string, Json>>;

/** What somebody enters who changes as little as possible. */
function entered(changes: Entered = {}): Entered {
  const defaults: Entered = {};
  for (const step of form.view.properties.steps) {
    const values: Record<string, Json> = {};
    for (const control of step.elements) {
      const declared = 'defaultValue' in control ? control.defaultValue : '';
      values[control.name] =
        typeof declared === 'object'
          ? { newOrExistingOrNone: 'new', name: declared.publicIpAddressName, resourceGroup: 'calls' }
          : (declared ?? '');
    }
    defaults[step.name] = values;
  }
  const filled: Entered = {
    basics: { stackName: 'calls', resourceScope: { location: { name: 'westeurope' }, resourceGroup: { id: '/x' } } },
    certificate: { domainName: 'meet.example.com', letsEncryptEmail: 'me@example.com' },
    product: { releaseUrl: testRelease.url, releaseSha256: testRelease.sha256 },
    machines: {
      masterNodeInstanceType: 'Standard_B4ms',
      mediaNodeInstanceType: 'Standard_B4ms',
      adminUsername: 'operator',
      adminSshKey: { authenticationType: 'sshPublicKey', sshPublicKey: 'ssh-ed25519 AAAA' },
    },
  };
  for (const layer of [filled, changes]) {
    for (const [step, values] of Object.entries(layer)) defaults[step] = { ...defaults[step], ...values };
  }
  return defaults;
}

describe('the form of the portal', () => {
  it('agrees with the template in both directions, and breaks no rule', () => {
    assert.deepEqual(inspectForm(form, template), []);
  });

  it('hands over parameters that the template takes, whatever is hidden', async () => {
    const cases: Entered[] = [
      {},
      { certificate: { certificateType: 'selfsigned', domainName: '', letsEncryptEmail: '' } },
      { certificate: { domainName: '', letsEncryptEmail: '' } },
      {
        certificate: {
          certificateType: 'owncert',
          ownPublicCertificate: 'UFVCTElDLUtFWQ==',
          ownPrivateCertificate: 'UFJJVkFURS1LRVk=',
        },
      },
      { turn: { turnDomainName: 'turn.example.com' } },
      { scaling: { drainPolicy: 'wait' } },
    ];
    for (const changes of cases) {
      const values = entered(changes);
      assert.deepEqual(complaintsAbout(form, values), [], JSON.stringify(changes));
      assert.deepEqual(
        await inspectTemplate(buildTemplate(), parametersFrom(form, values)),
        [],
        JSON.stringify(changes),
      );
    }
  });

  it('shows certificate fields only where they are needed', () => {
    const shown = (changes: Entered): string[] =>
      shownFields(form, entered(changes)).filter((name) => /own|letsEncryptEmail/i.test(name));
    assert.deepEqual(
      shown({}),
      ['certificate.letsEncryptEmail', 'turn.turnDomainName'].filter((name) => !name.includes('turnDomain')),
    );
    assert.deepEqual(shown({ certificate: { certificateType: 'owncert' } }), [
      'certificate.ownPublicCertificate',
      'certificate.ownPrivateCertificate',
    ]);
    assert.deepEqual(
      shown({ certificate: { certificateType: 'owncert' }, turn: { turnDomainName: 'turn.example.com' } }),
      [
        'certificate.ownPublicCertificate',
        'certificate.ownPrivateCertificate',
        'turn.turnOwnPublicCertificate',
        'turn.turnOwnPrivateCertificate',
      ],
    );
  });

  it('does not ask for what is ignored', () => {
    const asked = form.view.properties.steps.flatMap((step) => step.elements.map(({ name }) => name));
    for (const name of ['openviduLicense', 'automationAccountName', 'additionalInstallFlags', 'datetime'] as const) {
      assert.equal(templateParameters[name].ignored, true);
      assert.ok(!asked.includes(name));
    }
  });

  const refused: [string, Entered, RegExp][] = [
    ['a minimum above the maximum', { scaling: { minNumberOfMediaNodes: '6' } }, /above the maximum/],
    ['a start below the minimum', { scaling: { minNumberOfMediaNodes: '3' } }, /below the minimum/],
    ['a start above the maximum', { scaling: { initialNumberOfMediaNodes: '9' } }, /above the maximum/],
    [
      'a number that is none',
      { scaling: { maxNumberOfMediaNodes: '5.5', initialNumberOfMediaNodes: '1' } },
      /whole number/,
    ],
    ['a hundred nodes', { scaling: { maxNumberOfMediaNodes: '100' } }, /1 to 99/],
    ['a stack name of two letters', { basics: { stackName: 'ab' } }, /3 to 15/],
    ['a stack name of sixteen letters', { basics: { stackName: 'abcdefghijklmnop' } }, /3 to 15/],
    ['owncert without a domain', { certificate: { certificateType: 'owncert', domainName: '' } }, /needs its domain/],
    ['owncert without a key', { certificate: { certificateType: 'owncert' } }, /ownPrivateCertificate is required/],
    ['a domain without e-mail', { certificate: { letsEncryptEmail: '' } }, /letsEncryptEmail is required/],
    ['admin as a user name', { machines: { adminUsername: 'admin' } }, /refused/],
    ['the main domain for TURN', { turn: { turnDomainName: 'meet.example.com' } }, /differ/],
    ['a release over plain HTTP', { product: { releaseUrl: 'http://example.com/x' } }, /https/],
  ];
  for (const [what, changes, message] of refused) {
    it(`refuses ${what}`, () => {
      assert.match(complaintsAbout(form, entered(changes)).join('; '), message);
    });
  }
});
