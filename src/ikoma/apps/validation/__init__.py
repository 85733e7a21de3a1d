"""Can an app be deployed as it stands? Findings by subject, put together by `validator`."""
