//! Clients of the three providers, set up by the environment's usual variables.
//!
//! Credentials come from these variables alone. Without any, the libraries would ask an address of the machine's own,
//! which hands out the machine's rights to every step on it: nobody is asked, and the error says what to set.

use super::{
    super::StoreError,
    connector::Connector,
    place::{Place, Provider},
    refusal,
};
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey as Aws},
    azure::{AzureConfigKey as Azure, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Google},
};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// How often a request is tried again, and for how long: a server that is not there is told of within seconds, one
/// that is overloaded for a moment is waited for.
const RETRIES: usize = 10;
const RETRY_FOR: Duration = Duration::from_secs(20);
/// Pauses in between are drawn from the shortest to three times the one before: about 5 seconds in all. The first is
/// short, because conflicts of racing writers are over at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
const GROWTH: f64 = 3.0;

/// Variables of the environment.
pub type Variables = Vec<(String, String)>;

/// Connects to nothing yet.
pub(super) fn client(place: &Place, variables: &Variables) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let connector = Connector::of(variables);
    let backoff = BackoffConfig { init_backoff: SHORTEST_PAUSE, max_backoff: LONGEST_PAUSE, base: GROWTH };
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_FOR };
    let built = match place.provider {
        Provider::S3 => s3(place, &Settings::of(variables, "AWS_"), connector, retry)?,
        Provider::Gcs => gcs(place, &Settings::of(variables, "GOOGLE_"), connector, retry)?,
        Provider::Azure => azure(place, &Settings::of(variables, "AZURE_"), connector, retry)?,
    };
    built.map_err(|error| refusal::failed(place, "set up", place.to_string(), &error))
}

type Built = Result<object_store::Result<Arc<dyn ObjectStore>>, StoreError>;

fn s3(place: &Place, settings: &Settings<Aws>, connector: Connector, retry: RetryConfig) -> Built {
    let ways: [&[Aws]; 4] = [
        &[Aws::AccessKeyId, Aws::SecretAccessKey],
        &[Aws::WebIdentityTokenFile, Aws::RoleArn],
        &[Aws::ContainerCredentialsFullUri, Aws::ContainerAuthorizationTokenFile],
        &[Aws::SkipSignature],
    ];
    settings.have_one(
        place,
        &ways,
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    )?;
    let mut builder = AmazonS3Builder::new();
    for (key, value) in &settings.0 {
        // The address that this one is relative to is the machine's own.
        if !matches!(key, Aws::ContainerCredentialsRelativeUri | Aws::Bucket) {
            builder = builder.with_config(*key, value);
        }
    }
    let builder = builder.with_bucket_name(&place.bucket).with_http_connector(connector).with_retry(retry);
    Ok(builder.build().map(|client| Arc::new(client) as _))
}

fn gcs(place: &Place, settings: &Settings<Google>, connector: Connector, retry: RetryConfig) -> Built {
    let ways: [&[Google]; 5] = [
        &[Google::ServiceAccount],
        &[Google::ServiceAccountKey],
        &[Google::ApplicationCredentials],
        &[Google::BearerToken],
        &[Google::SkipSignature],
    ];
    settings.have_one(place, &ways, "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, the path of a key file, or GOOGLE_SERVICE_ACCOUNT_KEY, its content")?;
    // By itself the library allows plain http here, and nowhere else.
    let mut builder = GoogleCloudStorageBuilder::new().with_config(Google::Client(ClientConfigKey::AllowHttp), "false");
    for (key, value) in settings.0.iter().filter(|(key, _)| *key != Google::Bucket) {
        builder = builder.with_config(*key, value);
    }
    let builder = builder.with_bucket_name(&place.bucket).with_http_connector(connector).with_retry(retry);
    Ok(builder.build().map(|client| Arc::new(client) as _))
}

fn azure(place: &Place, settings: &Settings<Azure>, connector: Connector, retry: RetryConfig) -> Built {
    let ways: [&[Azure]; 7] = [
        &[Azure::AccessKey],
        &[Azure::SasKey],
        &[Azure::Token],
        &[Azure::ClientId, Azure::ClientSecret, Azure::AuthorityId],
        &[Azure::ClientId, Azure::FederatedTokenFile, Azure::AuthorityId],
        &[Azure::UseEmulator],
        &[Azure::SkipSignature],
    ];
    settings.have_one(place, &ways, "AZURE_STORAGE_ACCOUNT_NAME and one of AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_FEDERATED_TOKEN_FILE with AZURE_CLIENT_ID and AZURE_TENANT_ID")?;
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in &settings.0 {
        // A type could name the machine's own address; what is there decides by itself.
        if !matches!(key, Azure::CredentialType | Azure::ContainerName | Azure::MsiEndpoint) {
            builder = builder.with_config(*key, value);
        }
    }
    let builder = builder.with_container_name(&place.bucket).with_http_connector(connector).with_retry(retry);
    Ok(builder.build().map(|client| Arc::new(client) as _))
}

/// What the environment sets of one provider; never shown, for it has secrets.
struct Settings<K>(Vec<(K, String)>);

impl<K: FromStr + PartialEq + fmt::Debug> Settings<K> {
    fn of(variables: &Variables, prefix: &str) -> Self {
        let ours = variables.iter().filter(|(name, value)| name.starts_with(prefix) && !value.is_empty());
        Self(ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone()))).collect())
    }

    /// Whether all of one of some ways to show who we are is there.
    fn have_one(&self, place: &Place, ways: &[&[K]], set: &'static str) -> Result<(), StoreError> {
        let has = |key: &K| self.0.iter().any(|(there, _)| there == key);
        if ways.iter().any(|way| way.iter().all(has)) {
            return Ok(());
        }
        Err(StoreError::NoCredentials { store: place.to_string(), set })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(scheme: Provider, variables: &[(&str, &str)]) -> Result<(), StoreError> {
        let place = Place::parse(scheme, "bucket/prefix").unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        client(&place, &variables).map(drop)
    }

    #[test]
    fn half_of_what_is_needed_is_nothing() {
        let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        assert!(opened(Provider::S3, &key).is_ok());
        let none: [&[(&str, &str)]; 5] = [
            &[],
            &key[..1],
            &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "")],
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")],
            &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")],
        ];
        for variables in none {
            let error = opened(Provider::S3, variables).unwrap_err();
            assert!(error.to_string().starts_with("no credentials for s3://bucket/prefix"), "{error}");
        }
        assert!(opened(Provider::S3, &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")]).is_ok());
        for provider in [Provider::Gcs, Provider::Azure] {
            assert!(matches!(opened(provider, &key), Err(StoreError::NoCredentials { .. })));
        }
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "a");
        assert!(opened(Provider::Azure, &[account, ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")]).is_ok());
        let managed = ("AZURE_CREDENTIAL_TYPE", "managed_identity");
        assert!(matches!(opened(Provider::Azure, &[account, managed]), Err(StoreError::NoCredentials { .. })));
    }
}
